// SPDX-License-Identifier: Apache-2.0
#include "agent/interrupt.h"

#include <sys/signalfd.h>

#include "core/error.h"

namespace tare::agent {

Interrupt::Interrupt(std::initializer_list<int> signals) {
  ::sigemptyset(&set_);
  for (const int number : signals) ::sigaddset(&set_, number);
  ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  fd_ = Fd(::signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_) throw_errno("make a signalfd");
}

Interrupt::~Interrupt() { ::pthread_sigmask(SIG_UNBLOCK, &set_, nullptr); }

int Interrupt::take() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return 0;
  const int number = static_cast<int>(info.ssi_signo);
  if (first_ == 0) first_ = number;
  ++count_;
  return number;
}

}  // namespace tare::agent
