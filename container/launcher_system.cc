// SPDX-License-Identifier: Apache-2.0
#include "container/launcher_system.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace tare::container {

Received receive_message(int socket, std::string& message, std::vector<Fd>& fds) {
  const ssize_t size = recv(socket, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  if (size < 0) return errno == EAGAIN || errno == EINTR ? Received::nothing : Received::end;
  if (size == 0 || static_cast<std::size_t>(size) > kLargestMessage) return Received::end;
  message.resize(static_cast<std::size_t>(size));
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)];
  iovec part{message.data(), message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  if (recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != size) return Received::end;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return Received::message;
}

bool has_low_oom_score() {
  static const bool low = [] {
    char text[16] = {};
    const Fd file(open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC));
    return read(file.get(), text, sizeof text - 1) > 0 && text[0] == '-';
  }();
  return low;
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

Fd open_log(const std::string& path) {
  Fd log(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!log) throw LaunchFailure{"open log", errno, path};
  return log;
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

pid_t clone_child(const ChildSetup& setup, int cgroup_directory) {
  clone_args arguments{};
  arguments.flags = clone_flags(setup.plan, setup.netns >= 0);
  arguments.exit_signal = SIGCHLD;
  if (cgroup_directory >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<__u64>(cgroup_directory);
  }
  const ChildrenNamespace space(setup.join, setup.join >= 0 && setup.plan.isolation.pid);
  const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) become_workload(setup);
  if (pid < 0) throw LaunchFailure{"clone", errno, ""};
  return static_cast<pid_t>(pid);
}

std::uint64_t append_frame(int log, char* buffer, const LogFrame& frame) {
  std::memcpy(buffer, &frame, sizeof frame);
  const std::size_t size = sizeof frame + frame.size;
  const off_t before = lseek(log, 0, SEEK_END);
  const ssize_t written = write(log, buffer, size);
  if (written == static_cast<ssize_t>(size)) return size;
  // Half a frame would make the rest unreadable.
  if (written > 0 && ftruncate(log, before) != 0) std::abort();
  return 0;
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
