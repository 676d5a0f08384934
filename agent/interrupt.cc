// SPDX-License-Identifier: Apache-2.0
#include "agent/interrupt.h"

#include <sys/signalfd.h>

#include <csignal>

#include "core/error.h"

namespace tare::agent {
namespace {

sigset_t signals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t set = signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  fd_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_) throw_errno("make a signalfd");
}

Interrupt::~Interrupt() {
  const sigset_t set = signals();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

int Interrupt::take() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return 0;
  const int number = static_cast<int>(info.ssi_signo);
  if (first_ == 0) first_ = number;
  ++count_;
  return number;
}

}  // namespace tare::agent
