// SPDX-License-Identifier: Apache-2.0
#include "container/child.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>

namespace tare::container {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> list;
  list.reserve(strings.size() + 1);
  for (const std::string& s : strings) list.push_back(const_cast<char*>(s.c_str()));  // NOLINT: execve's type, not its meaning
  list.push_back(nullptr);
  return list;
}

void reset_signals() {
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  for (int number : {SIGPIPE, SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaction(number, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// The launcher shares the agent's protection against the killer of processes; a workload does not.
void restore_oom_score(StepReport& report) {
  const int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  report.check(file, "oom_score_adj");
  report.check(write(file, "0", 1), "oom_score_adj");
  close(file);
}

// A single-threaded process moves itself without the global lock that a pid write waits for (START.md §0.1).
void enter_control_groups(const ChildSetup& setup, StepReport& report) {
  for (const int tasks : setup.tasks) report.check(write(tasks, "0", 1));
}

void set_loopback_up(StepReport& report) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  report.check(socket, "socket");
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  report.check(ioctl(socket, SIOCSIFFLAGS, &request), "loopback");
  close(socket);
}

void enter_network(const ChildSetup& setup, StepReport& report) {
  if (setup.netns >= 0) {
    report.check(setns(setup.netns, CLONE_NEWNET));
  } else if (setup.plan.isolation.net) {
    set_loopback_up(report);
  }
}

constexpr int kNewTime = 0x80;  // CLONE_NEWTIME, which the C library does not name

int namespaces_to_join(const Isolation& isolation) {
  return CLONE_NEWNS | (isolation.has_own_ids() ? CLONE_NEWUSER : 0) | (isolation.ipc ? CLONE_NEWIPC : 0) |
         (isolation.uts ? CLONE_NEWUTS : 0) | (isolation.net ? CLONE_NEWNET : 0) | (isolation.cgroup ? CLONE_NEWCGROUP : 0) |
         (isolation.time ? kNewTime : 0);
}

void make_directories(const char* path, StepReport& report) {
  char prefix[PATH_MAX];
  const std::size_t size = std::strlen(path);
  if (size >= sizeof prefix) report.fail(ENAMETOOLONG, path);
  for (std::size_t i = 1; i <= size; ++i) {
    if (path[i] != '/' && path[i] != '\0') continue;
    std::memcpy(prefix, path, i);
    prefix[i] = '\0';
    if (mkdir(prefix, 0755) != 0 && errno != EEXIST) report.fail(errno, path);
  }
}

void enter_directory(const char* path, StepReport& report) {
  if (chdir(path) != 0) {
    if (errno != ENOENT) report.fail(errno, path);
    make_directories(path, report);  // as Docker does for a working directory that the image lacks
    report.check(chdir(path), path);
  }
  char directory[PATH_MAX];
  if (getcwd(directory, sizeof directory) == nullptr) report.fail(errno, path);  // ENOENT where it is not below the root
}

// The descriptors may overlap 0–2 only when the launcher itself had them closed; it opens /dev/null for these first thing.
void connect_streams(const ChildSetup& setup, int terminal, StepReport& report) {
  const bool tty = terminal >= 0;
  report.check(dup2(tty ? terminal : setup.in, STDIN_FILENO), "stdin");
  report.check(dup2(tty ? terminal : setup.out, STDOUT_FILENO), "stdout");
  report.check(dup2(tty ? terminal : setup.err, STDERR_FILENO), "stderr");
  if (tty) report.check(ioctl(STDIN_FILENO, TIOCSCTTY, 0), "controlling terminal");
  // Nothing of ours may reach the workload: a path in the image such as /proc/self/fd/7 would lead to the host (CVE-2024-21626). Only the
  // report pipe stays, which closes in the moment of execve, and the program of PID 1 until it is executed.
  constexpr unsigned kFirst = kReportDescriptor + 1U;
  const int init = setup.init < 0 ? -1 : fcntl(setup.init, F_DUPFD_CLOEXEC, kInitDescriptor + 1);  // in nobody's way
  if (setup.report != kReportDescriptor) report.check(dup3(setup.report, kReportDescriptor, O_CLOEXEC), "report");
  report.moved_to(kReportDescriptor);
  if (setup.init >= 0) report.check(dup3(init, kInitDescriptor, O_CLOEXEC), "init");
  report.check(syscall(SYS_close_range, setup.init < 0 ? kFirst : kFirst + 1U, ~0U, 0U), "close descriptors");
}

// The report pipe goes along: it closes when the workload itself is executed (pid_one.cc).
[[noreturn]] void become_pid_one(const ChildSetup& setup, StepReport& report) {
  report.at("execute init");
  report.check(fcntl(kReportDescriptor, F_SETFD, 0));
  syscall(SYS_execveat, kInitDescriptor, "", setup.init_arguments.data(), setup.environment.data(), AT_EMPTY_PATH);
  report.fail(errno);
}

// What could be done beforehand is done: all that is open besides the streams is this socket, whose other end only the launcher has.
// Without a launcher there is nothing to wait for.
void await_go(StepReport& report) {
  report.at("wait for its start");
  char byte = 'p';
  report.check(write(report.pipe(), &byte, 1));
  ssize_t count = 0;
  do {
    count = read(report.pipe(), &byte, 1);
  } while (count < 0 && errno == EINTR);
  if (count != 1) _exit(127);
}

const char* search_path(char* const* environment) {
  for (; *environment != nullptr; ++environment) {
    if (std::strncmp(*environment, "PATH=", 5) == 0) return *environment + 5;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

}  // namespace

ChildSetup::ChildSetup(const Plan& p) : plan(p), arguments(pointers(p.arguments)), environment(pointers(p.environment)) {
  if (!p.init) return;
  init_arguments = {const_cast<char*>(kPidOneName), const_cast<char*>(p.program.c_str())};  // NOLINT: execve's type, not its meaning
  init_arguments.insert(init_arguments.end(), arguments.begin(), arguments.end());
}

// A name without a slash is looked up as execvp(3) does it, in the file system as it is now: what an exec names may be newer than the
// image. (execvpe itself may allocate.)
void execute(const char* program, char* const* arguments, char* const* environment, const StepReport& report) {
  if (std::strchr(program, '/') != nullptr) {
    execve(program, arguments, environment);
    report.fail(errno, program);
  }
  int error = ENOENT;
  char path[PATH_MAX];
  for (const char* entry = search_path(environment); *entry != '\0';) {
    const std::size_t size = strcspn(entry, ":");
    if (size + std::strlen(program) + 2 <= sizeof path && size > 0) {
      std::memcpy(path, entry, size);
      path[size] = '/';
      std::strcpy(path + size + 1, program);  // fits: checked above
      execve(path, arguments, environment);
      if (errno != ENOENT && errno != ENOTDIR) error = errno;
    }
    entry += size + (entry[size] == ':');
  }
  report.fail(error, program);
}

void StepReport::fail(int error, const char* detail) const {
  StepFailure failure;
  failure.error = error;
  std::strncpy(failure.step.data(), step_, failure.step.size() - 1);
  std::strncpy(failure.detail.data(), detail, failure.detail.size() - 1);
  const ssize_t written = write(pipe_, &failure, sizeof failure);
  _exit(written == sizeof failure ? 127 : 126);
}

void StepReport::check(long result, const char* detail) const {
  if (result < 0) fail(errno, detail);
}

std::uint64_t clone_flags(const Plan& plan, bool has_netns) {
  if (!plan.join.empty()) return 0;
  const Isolation& isolation = plan.isolation;
  // The cgroup namespace comes later, in a step: its root is where the process is when it is made.
  return static_cast<std::uint64_t>(CLONE_NEWNS) | (isolation.pid ? CLONE_NEWPID : 0U) | (isolation.ipc ? CLONE_NEWIPC : 0U) |
         (isolation.time ? unsigned{kNewTime} : 0U) | (isolation.uts ? CLONE_NEWUTS : 0U) |
         (isolation.net && !has_netns ? CLONE_NEWNET : 0U);
}

void become_workload(const ChildSetup& setup) {
  const Plan& plan = setup.plan;
  const bool joins = setup.join >= 0;
  int terminal = -1;
  StepReport report(setup.report);
  report.at("leave the launcher's session");
  reset_signals();
  report.check(setsid());
  if (setup.has_low_oom_score) restore_oom_score(report);
  report.at("enter control groups");
  enter_control_groups(setup, report);
  if (joins) {
    report.at("join namespaces");
    if (plan.isolation.has_own_ids()) privileges::raise_limits(plan.attributes);
    report.check(setns(setup.join, namespaces_to_join(plan.isolation)));
    if (plan.isolation.has_own_ids()) privileges::become_root_of_namespace(report);
    // setns(2) leads to the root of the mount namespace, which is not the instance's where the launcher itself lives in a chroot.
    report.check(fchdir(setup.join_root));
    report.check(chroot("."));
    report.at("terminal");
    if (plan.tty) terminal = terminal::open(setup, setup.join_root, report);
  } else {
    report.at("cgroup namespace");
    if (plan.isolation.cgroup) report.check(unshare(CLONE_NEWCGROUP));
    report.at("network");
    enter_network(setup, report);
    terminal = mounts::in_child(setup, report);
    report.at("hostname");
    if (plan.isolation.uts) report.check(sethostname(plan.hostname.c_str(), plan.hostname.size()), plan.hostname.c_str());
  }
  const seccomp::Program filter = seccomp::map(setup, report);
  report.at("streams");
  connect_streams(setup, terminal, report);
  report.at("working directory");
  umask(022);
  enter_directory(plan.working_directory.c_str(), report);
  umask(plan.attributes.umask);
  privileges::join_new_keyring(plan, report);
  // With no_new_privs anybody may install a filter, so that it comes last; without, only who has all privileges still.
  if (!plan.isolation.no_new_privileges) seccomp::install(filter, report);
  privileges::in_child(plan, report);
  if (plan.isolation.no_new_privileges) seccomp::install(filter, report);
  if (setup.park) await_go(report);
  if (setup.init >= 0) become_pid_one(setup, report);
  report.at("execute");
  execute(plan.program.c_str(), setup.arguments.data(), setup.environment.data(), report);
}

}  // namespace tare::container
