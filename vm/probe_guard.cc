// SPDX-License-Identifier: Apache-2.0
#include "vm/probe_guard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "core/error.h"

namespace tare::vm {
namespace {

Child start_guard(const Paths& paths, Fd& lease) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw_errno("make a pipe");
  const Fd far(pipe[0]);
  lease = Fd(pipe[1]);
  Child::Options options;
  options.argv = {paths.libexec / "tare-guard", paths.state};
  options.stdin_fd = far.get();
  options.new_session = true;  // Ctrl-C and a hang-up may end us: then it has work to do
  if (::access(options.argv[0].c_str(), X_OK) != 0) {
    throw Error(Code::unavailable, "vm: " + options.argv[0] + " is missing", "build and install all of tare");
  }
  return Child::spawn(options);
}

}  // namespace

ProbeGuard::ProbeGuard(const Paths& paths) : child_(start_guard(paths, lease_)) {}

}  // namespace tare::vm
