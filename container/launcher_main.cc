// SPDX-License-Identifier: Apache-2.0
// tare-launcher: the parent of every metal and container workload of this host. One small single-threaded process that outlives the
// agent: it starts (clone3), reaps, appends output to log files, and keeps exit codes until somebody has seen them.
//
//   tare-launcher --listen PATH STATE   standard input is the listening socket at PATH; ends when nothing runs and nobody is connected
//   tare-launcher --private STATE       standard input is the one connection; ends, and ends all it started, when that closes
//
// STATE is the directory with the instances that it may be asked for.
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "container/child.h"
#include "container/launcher_loop.h"
#include "container/pid_one.h"

namespace {

/// A workload may find this program as /proc/<pid>/exe, between clone and execve and as the interpreter of a script, and try to write to it
/// (CVE-2019-5736). So what runs is a copy in memory that nobody can write to, the kernel's own seal. Once a launcher, not once a start.
bool is_sealed() {
  const int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  const int seals = fcntl(self, F_GET_SEALS);
  close(self);
  return seals >= 0 && (seals & F_SEAL_WRITE) != 0;
}

/// Returns only on failure.
void run_sealed(char** arguments) {
  constexpr unsigned kExecutable = 0x10;  // MFD_EXEC, Linux 6.3; older kernels refuse it and need no flag
  const int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  int copy = memfd_create("tare-launcher", MFD_CLOEXEC | MFD_ALLOW_SEALING | kExecutable);
  if (copy < 0 && errno == EINVAL) copy = memfd_create("tare-launcher", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (self < 0 || copy < 0) return;
  ssize_t count = 0;
  while ((count = sendfile(copy, self, nullptr, 1 << 24)) > 0) continue;
  if (count < 0 || fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) return;
  fexecve(copy, arguments, environ);
}

/// The socket came as descriptor 0; it moves away so that 0–2 are /dev/null in us and in nobody's way in a child.
int take_socket() {
  const int socket = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (socket < 0 || null < 0) return -1;
  for (int fd = 0; fd <= 2; ++fd) dup2(null, fd);
  if (null > 2) close(null);
  return socket;
}

/// What wakes us is a mark that we have to take the time of. A short slice lets us run at once where the processor is shared with the
/// workload that we have just started, and gives us no more of it than our fair part. Linux 6.12; older kernels know no slices. Not for
/// our children.
void run_promptly() {
  constexpr std::uint64_t kLeastSlice = 100'000;  // nanoseconds
  // sched_attr of <linux/sched/types.h>, which no program can have beside <sched.h>.
  struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  } attributes{};
  attributes.size = sizeof attributes;
  attributes.flags = SCHED_FLAG_RESET_ON_FORK;
  attributes.runtime = kLeastSlice;
  syscall(SYS_sched_setattr, 0, &attributes, 0U);
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 2 && std::string_view(arguments[0]) == tare::container::kPidOneName) return tare::container::run_pid_one(arguments);
  const bool listens = count == 4 && std::string_view(arguments[1]) == "--listen";
  const bool is_private = count == 3 && std::string_view(arguments[1]) == "--private";
  if (!listens && !is_private) {
    std::fputs(
        "tare-launcher is started by tare; usage: tare-launcher --listen PATH STATE | --private STATE, with a socket as standard input\n",
        stderr);
    return 2;
  }
  if (!is_sealed()) {
    run_sealed(arguments);
    std::perror("tare-launcher: make a sealed copy of itself");
    return 2;
  }
  prctl(PR_SET_DUMPABLE, 0);  // inherited by children until their execve: no tracing, no /proc/<pid>/exe for who is not root of the host
  const int socket = take_socket();
  if (socket < 0) return 2;
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_NAME, "tare-launcher");
  run_promptly();
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // what a metal workload leaves behind stays below us, where it can be found and ended
  return tare::container::LauncherLoop(socket, is_private ? "" : arguments[2], arguments[count - 1]).run();
}
