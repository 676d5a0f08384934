// SPDX-License-Identifier: Apache-2.0
#include "container/launcher_system.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace tare::container {

bool has_low_oom_score() {
  static const bool low = [] {
    char text[16] = {};
    const Fd file(open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC));
    return read(file.get(), text, sizeof text - 1) > 0 && text[0] == '-';
  }();
  return low;
}

namespace {

/// Mount points with the escapes of mountinfo undone (proc_pid_mountinfo(5)): "\\040" is a space.
std::vector<std::string> mount_points() {
  std::vector<std::string> points;
  FILE* table = std::fopen("/proc/self/mountinfo", "re");
  if (table == nullptr) return points;
  char* line = nullptr;
  std::size_t size = 0;
  while (getline(&line, &size, table) > 0) {
    char escaped[PATH_MAX];
    if (std::sscanf(line, "%*s %*s %*s %*s %4095s", escaped) != 1) continue;
    std::string point;
    for (const char* c = escaped; *c != '\0'; ++c) {
      unsigned value = 0;
      if (*c == '\\' && std::sscanf(c + 1, "%3o", &value) == 1) c += 3;
      point += value != 0 ? static_cast<char>(value) : *c;
    }
    points.push_back(std::move(point));
  }
  std::free(line);
  std::fclose(table);
  return points;
}

bool leads_to(const std::string& from, const std::string& to) {
  return from == "/" || to == from || (to.starts_with(from) && to[from.size()] == '/');
}

}  // namespace

void leave_mounts(const std::vector<std::string>& needed) {
  std::vector<std::string> paths = needed;
  for (const std::string& path : needed) {
    char real[PATH_MAX];  // what is behind links is needed as well
    if (realpath(path.c_str(), real) != nullptr) paths.emplace_back(real);
  }
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return;
  const std::vector<std::string> points = mount_points();
  for (auto point = points.rbegin(); point != points.rend(); ++point) {
    const bool is_needed = std::any_of(paths.begin(), paths.end(), [&](const std::string& path) {
      return leads_to(*point, path) || leads_to(path, *point);  // a disk of its own for what lies in there
    });
    if (!is_needed && *point != "/proc" && *point != "/sys") umount2(point->c_str(), MNT_DETACH);
  }
}

std::int64_t monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::pair<Fd, Fd> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw LaunchFailure{"make a pipe", errno, ""};
  std::pair<Fd, Fd> pipe{Fd(ends[0]), Fd(ends[1])};
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return pipe;
}

std::pair<Fd, Fd> make_socket_pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0) throw LaunchFailure{"make a socket", errno, ""};
  return {Fd(ends[0]), Fd(ends[1])};
}

std::pair<Fd, Fd> make_channel() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw LaunchFailure{"make a channel", errno, ""};
  std::pair<Fd, Fd> channel{Fd(ends[0]), Fd(ends[1])};
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return channel;
}

Fd open_pidfd(pid_t pid) {
  Fd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0U)));
  if (!fd) throw LaunchFailure{"join", errno, ""};
  return fd;
}

Fd open_root_of(pid_t pid) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/root", pid);
  Fd fd(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw LaunchFailure{"join", errno, ""};
  return fd;
}

namespace {

/// For a child in another process' PID namespace: the next clone happens there, the launcher itself stays where it is.
class ChildrenNamespace {
 public:
  ChildrenNamespace(int pidfd, bool wanted) : wanted_(wanted) {
    if (!wanted_) return;
    own_ = Fd(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
    if (!own_ || setns(pidfd, CLONE_NEWPID) != 0) throw LaunchFailure{"join PID namespace", errno, ""};
  }
  ChildrenNamespace(const ChildrenNamespace&) = delete;
  ChildrenNamespace& operator=(const ChildrenNamespace&) = delete;
  ~ChildrenNamespace() {
    // Every later workload would land in the wrong namespace: better none than that.
    if (wanted_ && setns(own_.get(), CLONE_NEWPID) != 0) std::abort();
  }

 private:
  bool wanted_;
  Fd own_;
};

}  // namespace

void give_streams(const ChildSetup& setup) {
  const ProcessAttributes& user = setup.plan.attributes;
  const std::uint32_t first = setup.plan.isolation.first_id;
  for (const int stream : {setup.out, setup.err, setup.plan.open_stdin ? setup.in : -1}) {
    if (stream >= 0 && fchown(stream, first + user.uid, first + user.gid) != 0) throw LaunchFailure{"streams", errno, ""};
  }
}

namespace {

struct Birth {
  const ChildSetup& setup;
  clone_args arguments;
  long pid = -1;
  int error = 0;
};

/// A process of a moment, with the launcher's memory: the launcher itself could not come back from a user namespace. The child's parent
/// is the launcher.
int bear_in_user_namespace(void* argument) {
  auto& birth = *static_cast<Birth*>(argument);
  privileges::raise_limits(birth.setup.plan.attributes);
  if (setns(birth.setup.userns, CLONE_NEWUSER) == 0) {
    birth.pid = syscall(SYS_clone3, &birth.arguments, sizeof birth.arguments);
    if (birth.pid == 0) become_workload(birth.setup);
  }
  birth.error = errno;
  _exit(0);
}

long clone_in_user_namespace(const ChildSetup& setup, const clone_args& arguments) {
  alignas(16) static char stack[64 * 1024];  // the child's too, as a copy
  Birth birth{setup, arguments};
  birth.arguments.flags |= CLONE_PARENT;
  birth.arguments.exit_signal = 0;  // with CLONE_PARENT it is that of the process of a moment
  const pid_t moment = clone(bear_in_user_namespace, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &birth);
  if (moment < 0) return -1;
  while (wait4(moment, nullptr, 0, nullptr) < 0 && errno == EINTR) continue;
  errno = birth.error;
  return birth.pid;
}

}  // namespace

pid_t clone_child(const ChildSetup& setup, int cgroup_directory) {
  clone_args arguments{};
  arguments.flags = clone_flags(setup.plan, setup.netns >= 0);
  arguments.exit_signal = SIGCHLD;
  if (cgroup_directory >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<__u64>(cgroup_directory);
  }
  const ChildrenNamespace space(setup.join, setup.join >= 0 && setup.plan.isolation.pid);
  const bool own_ids = setup.userns >= 0 && setup.join < 0;
  const long pid = own_ids ? clone_in_user_namespace(setup, arguments) : syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) become_workload(setup);
  if (pid < 0) throw LaunchFailure{"clone", errno, ""};
  return static_cast<pid_t>(pid);
}

bool readable(int fd) {
  pollfd poll_fd{fd, POLLIN, 0};
  return poll(&poll_fd, 1, 0) > 0;
}

bool died_before_execve(pid_t pid) {
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return false;
  char path[64];
  char text[512];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const Fd file(open(path, O_RDONLY | O_CLOEXEC));
  const ssize_t size = read(file.get(), text, sizeof text - 1);
  if (size <= 0) return false;
  text[size] = '\0';
  const char* rest = std::strrchr(text, ')');  // the name before it may hold anything
  unsigned flags = 0;
  constexpr unsigned kForkNoExec = 0x40;  // PF_FORKNOEXEC, the ninth field
  return rest != nullptr && std::sscanf(rest, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && (flags & kForkNoExec) != 0;
}

void kill_descendants() {
  for (;;) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    if (FILE* file = std::fopen(path, "re"); file != nullptr) {
      for (int pid = 0; std::fscanf(file, "%d", &pid) == 1;) kill(pid, SIGKILL);
      std::fclose(file);
    }
    const pid_t reaped = waitpid(-1, nullptr, WNOHANG);
    if (reaped < 0 && errno == ECHILD) return;
    if (reaped == 0) usleep(1000);
  }
}

}  // namespace tare::container
