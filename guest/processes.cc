// SPDX-License-Identifier: Apache-2.0
#include "guest/processes.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "guest/channel.h"
#include "guest/kernel.h"
#include "guest/usage.h"

namespace tare::guest::processes {
namespace {

struct Process {
  bool used = false;
  std::uint16_t number = 0;
  pid_t pid = -1;
  int out = -1;
  int err = -1;
};

// The strings of one execve: pointers into an arena that is emptied after each start.
struct Strings {
  char* items[8192] = {};
  std::size_t count = 0;
};

constexpr std::size_t kArena = 3 << 20;  // execve takes a quarter of the stack's limit at most, 2 MiB
char arena[kArena];
std::size_t arena_used = 0;
bool overflow = false;
Strings arguments, environment;
char* program = nullptr;
char* directory = nullptr;
Process table[kMost];
int cgroup_fd = -1;
char buffer[64 * 1024];

// What a container gets: the set that OCI engines agreed on.
constexpr std::uint64_t bit(unsigned capability) { return std::uint64_t{1} << capability; }
constexpr std::uint64_t kCapabilities = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FSETID) | bit(CAP_FOWNER) | bit(CAP_MKNOD) |
                                        bit(CAP_NET_RAW) | bit(CAP_SETGID) | bit(CAP_SETUID) | bit(CAP_SETFCAP) | bit(CAP_SETPCAP) |
                                        bit(CAP_NET_BIND_SERVICE) | bit(CAP_SYS_CHROOT) | bit(CAP_KILL) | bit(CAP_AUDIT_WRITE);

char* keep(std::string_view text) noexcept {
  if (text.size() >= kArena - arena_used) {
    overflow = true;
    return nullptr;
  }
  char* at = arena + arena_used;
  std::memcpy(at, text.data(), text.size());
  at[text.size()] = '\0';
  arena_used += text.size() + 1;
  return at;
}

void add(Strings& strings, std::string_view text) noexcept {
  char* kept = keep(text);
  if (kept == nullptr || strings.count + 1 >= std::size(strings.items)) {
    overflow = true;
    return;
  }
  strings.items[strings.count++] = kept;
  strings.items[strings.count] = nullptr;
}

void clear_strings() noexcept {
  arena_used = arguments.count = environment.count = 0;
  arguments.items[0] = environment.items[0] = nullptr;
  program = directory = nullptr;
  overflow = false;
}

const char* drop_privileges() noexcept {
  for (unsigned capability = 0; capability <= 63; ++capability) {
    if ((kCapabilities & bit(capability)) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      if (errno == EINVAL) break;  // past the last one that this kernel knows
      return "drop of capabilities";
    }
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  constexpr auto low = static_cast<std::uint32_t>(kCapabilities & 0xffffffff);
  constexpr auto high = static_cast<std::uint32_t>(kCapabilities >> 32);
  const __user_cap_data_struct data[2] = {{low, low, 0}, {high, high, 0}};
  if (syscall(SYS_capset, &header, data) != 0) return "set of capabilities";
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return "no_new_privs";
  return nullptr;
}

const char* path_variable() noexcept {
  for (std::size_t i = 0; i < environment.count; ++i) {
    if (std::strncmp(environment.items[i], "PATH=", 5) == 0) return environment.items[i] + 5;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

// execve of the program; of argv[0] in PATH when no program was named. Returns only on failure, with errno set.
void execute() noexcept {
  if (program != nullptr || std::strchr(arguments.items[0], '/') != nullptr) {
    execve(program != nullptr ? program : arguments.items[0], arguments.items, environment.items);
    return;
  }
  int seen = ENOENT;
  for (const char* rest = path_variable(); *rest != '\0';) {
    const std::size_t length = std::strcspn(rest, ":");
    char path[4096];
    const int size = std::snprintf(path, sizeof path, "%.*s/%s", static_cast<int>(length), rest, arguments.items[0]);
    if (size > 0 && static_cast<std::size_t>(size) < sizeof path) execve(path, arguments.items, environment.items);
    if (errno != ENOENT && errno != ENOTDIR) seen = errno;
    rest += length;
    if (*rest == ':') ++rest;
  }
  errno = seen;
}

// As the container's side and Docker do for a working directory that the image lacks. Changes `path` while it works.
bool enter_directory(char* path) noexcept {
  if (chdir(path) == 0) return true;
  if (errno != ENOENT) return false;
  for (char* at = path + 1; *at != '\0'; ++at) {
    if (*at != '/') continue;
    *at = '\0';
    mkdir(path, 0755);  // that it is there afterwards is what counts
    *at = '/';
  }
  mkdir(path, 0755);
  return chdir(path) == 0;
}

struct Report {
  int number = 0;
  char step[60] = {};
};

// In the child. Steps in order; the one that fails is reported with its errno through the pipe that a successful execve closes.
[[noreturn]] void become(int out, int err, int report_fd, bool restricted) noexcept {
  const char* step = nullptr;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  setsid();
  if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) step = "redirection of output";
  if (step == nullptr && directory != nullptr && !enter_directory(directory)) step = "change to the working directory";
  if (step == nullptr && restricted) step = drop_privileges();
  if (step == nullptr) {
    execute();
    step = "execve";
  }
  Report report;
  report.number = errno;
  std::snprintf(report.step, sizeof report.step, "%s", step);
  if (write(report_fd, &report, sizeof report) < 0) _exit(126);
  _exit(127);
}

pid_t fork_into_group() noexcept {
  clone_args args{};
  args.exit_signal = SIGCHLD;
  if (cgroup_fd >= 0) {
    args.flags = CLONE_INTO_CGROUP;
    args.cgroup = static_cast<decltype(args.cgroup)>(cgroup_fd);
  }
  return static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
}

Process* find(std::uint16_t number) noexcept {
  for (Process& process : table) {
    if (process.used && process.number == number) return &process;
  }
  return nullptr;
}

Process* free_slot() noexcept {
  for (Process& process : table) {
    if (!process.used) return &process;
  }
  return nullptr;
}

void forget(int& fd) noexcept {
  close(fd);
  fd = -1;
}

// One read. False when there is nothing now, or nothing any more.
bool forward_once(const Process& process, int& fd, std::uint8_t stream) noexcept {
  if (fd < 0) return false;
  const ssize_t count = read(fd, buffer, sizeof buffer);
  if (count < 0) return errno == EINTR;
  if (count == 0) {
    forget(fd);
    return false;
  }
  Output output;
  output.stream = stream;
  output.text = {buffer, static_cast<std::size_t>(count)};
  channel::send(output, process.number);
  return true;
}

// Bounded where a descendant may live on and write for ever; when the first process ends, all others have.
void drain(Process& process) noexcept {
  constexpr int kMostReads = 64;
  for (int i = 0; (process.number == 0 || i < kMostReads) && forward_once(process, process.out, 1); ++i) continue;
  for (int i = 0; (process.number == 0 || i < kMostReads) && forward_once(process, process.err, 2); ++i) continue;
}

// Once is enough: a fork that meets the signal fails, and orphans become our children. kill(2) itself says nothing, because it counts
// kernel threads too.
void kill_all_others() noexcept {
  kill(-1, SIGKILL);
  while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR) continue;
}

void finish(Process& process, int status, std::int64_t at) noexcept {
  if (process.number == 0) kill_all_others();  // as the end of a PID namespace's init does to a container
  drain(process);
  Exited exited;
  exited.at = at;
  exited.signaled = WIFSIGNALED(status) ? 1 : 0;
  exited.code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
  exited.oom = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && oom_kills() > 0 ? 1 : 0;
  channel::send(exited, process.number);
  if (process.out >= 0) forget(process.out);
  if (process.err >= 0) forget(process.err);
  process.used = false;
}

// In the parent: waits until execve closed the pipe, or a step's failure came through it.
bool await_execve(std::uint16_t number, int report_fd) noexcept {
  Report report;
  ssize_t count = 0;
  while ((count = read(report_fd, &report, sizeof report)) < 0 && errno == EINTR) continue;
  Executed executed;
  executed.at = now();
  if (count == 0) return channel::send(executed, number);
  report.step[sizeof report.step - 1] = '\0';
  channel::fail(number, report.step, report.number);
  return false;
}

}  // namespace

void add_argument(std::string_view text) noexcept { add(arguments, text); }
void add_environment(std::string_view text) noexcept { add(environment, text); }
void set_program(std::string_view path) noexcept { program = keep(path); }
void set_directory(std::string_view path) noexcept { directory = keep(path); }

const char* limit_processes(std::uint64_t pids) noexcept {
  if (pids == 0) return nullptr;
  char text[32];
  std::snprintf(text, sizeof text, "%llu", static_cast<unsigned long long>(pids));
  mkdir("/cgroup", 0755);
  if (mount("cgroup2", "/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "") != 0) return "mount of cgroup2";
  if (!write_text("/cgroup/cgroup.subtree_control", "+pids")) return "use of the pids controller";
  if (mkdir("/cgroup/workload", 0755) != 0) return "make the workload's control group";
  if (!write_text("/cgroup/workload/pids.max", text)) return "limit of processes";
  cgroup_fd = open("/cgroup/workload", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return cgroup_fd >= 0 ? nullptr : "open of the workload's control group";
}

bool start(std::uint16_t number, bool restricted) noexcept {
  Process* process = find(number) == nullptr ? free_slot() : nullptr;
  int out[2] = {-1, -1}, err[2] = {-1, -1}, report[2] = {-1, -1};
  if (overflow || arguments.count == 0 || process == nullptr) {
    channel::fail(number, process == nullptr ? "start of another process" : "collection of arguments", process == nullptr ? EAGAIN : E2BIG);
    clear_strings();
    return false;
  }
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0 || pipe2(report, O_CLOEXEC) != 0) {
    channel::fail(number, "pipe", errno);
    for (const int fd : {out[0], out[1], err[0], err[1]}) close(fd);
    clear_strings();
    return false;
  }
  const pid_t pid = fork_into_group();
  if (pid == 0) become(out[1], err[1], report[1], restricted);
  const int error = errno;
  close(out[1]), close(err[1]), close(report[1]);
  fcntl(out[0], F_SETFL, O_NONBLOCK), fcntl(err[0], F_SETFL, O_NONBLOCK);
  *process = {true, number, pid, out[0], err[0]};
  bool started = false;
  if (pid < 0) {
    channel::fail(number, "clone3", error);
  } else {
    started = await_execve(number, report[0]);
  }
  if (!started) {
    close(out[0]), close(err[0]);
    process->used = false;
  }
  close(report[0]);
  clear_strings();
  return started;
}

void signal(std::uint16_t number, const Signal& signal) noexcept {
  const Process* process = find(number);
  if (signal.whole_tree != 0) {
    kill(-1, signal.number);
  } else if (process != nullptr && process->pid > 0) {
    kill(process->pid, signal.number);
  }
}

std::size_t poll_fds(std::span<pollfd> fds) noexcept {
  std::size_t count = 0;
  for (const Process& process : table) {
    if (!process.used) continue;
    if (process.out >= 0) fds[count++] = {process.out, POLLIN, 0};
    if (process.err >= 0) fds[count++] = {process.err, POLLIN, 0};
  }
  return count;
}

void forward() noexcept {
  for (Process& process : table) {
    if (!process.used) continue;
    forward_once(process, process.out, 1);
    forward_once(process, process.err, 2);
  }
}

bool reap() noexcept {
  bool ended = false;
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    const std::int64_t at = now();
    for (Process& process : table) {
      if (!process.used || process.pid != pid) continue;
      ended = ended || process.number == 0;
      finish(process, status, at);
    }
  }
  return ended;
}

}  // namespace tare::guest::processes
