// SPDX-License-Identifier: Apache-2.0
// Samples that another process takes, for what a process can be only once: libvirt's embedded driver has one configuration in each.
#pragma once

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>

#include "core/error.h"
#include "core/fd.h"

namespace tare::perf {

/// A child that takes one sample at a time. To be made before this process has threads.
class Elsewhere {
 public:
  using Sample = std::function<double()>;
  /// `prepare` runs in the child, at the first sample.
  explicit Elsewhere(const std::function<Sample()>& prepare) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) throw_errno("make a pair of sockets");
    near_ = Fd(ends[0]);
    Fd far(ends[1]);
    child_ = ::fork();
    if (child_ < 0) throw_errno("fork");
    if (child_ > 0) return;
    near_ = Fd();
    serve(far.get(), prepare);
  }
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;
  ~Elsewhere() {
    near_ = Fd();
    ::waitpid(child_, nullptr, 0);
  }

  double sample() {
    double value = 0;
    const char go = 1;
    if (::send(near_.get(), &go, 1, MSG_NOSIGNAL) != 1 || ::recv(near_.get(), &value, sizeof value, 0) != sizeof value) {
      throw Error(Code::failed, "the other process that takes samples has ended", "its reason is above");
    }
    return value;
  }

 private:
  [[noreturn]] static void serve(int socket, const std::function<Sample()>& prepare) {
    int status = 0;
    try {
      Sample take;
      for (char go = 0; ::recv(socket, &go, 1, 0) == 1;) {
        if (!take) take = prepare();
        const double value = take();
        if (::send(socket, &value, sizeof value, MSG_NOSIGNAL) != sizeof value) break;
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      status = 1;
    }
    std::exit(status);  // NOLINT(concurrency-mt-unsafe): libvirt ends with its destructors
  }

  Fd near_;
  pid_t child_ = -1;
};

}  // namespace tare::perf
