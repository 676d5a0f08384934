// SPDX-License-Identifier: Apache-2.0
#include "guest/processes.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "guest/channel.h"
#include "guest/child.h"
#include "guest/input_queue.h"
#include "guest/kernel.h"
#include "guest/retained.h"
#include "guest/terminal.h"
#include "guest/usage.h"

namespace tare::guest::processes {
namespace {

struct Process {
  bool used = false;
  std::uint16_t number = 0;
  pid_t pid = -1;
  int out = -1;  // of a terminal: its master
  int err = -1;
  std::uint64_t sent = 0;   // bytes of output
  std::uint64_t taken = 0;  // of these, by the host
  InputQueue input;
  std::uint64_t input_told = 0;
  bool input_told_open = false;
  bool ended = false;
  int status = 0;  // and what follows: once it has ended
  std::int64_t ended_at = 0;
  std::uint64_t sent_at_end = 0;  // value of `sent` then
};

/// Both ends of the streams of a process that is being started. Closes what nobody took.
struct Streams {
  ChildStreams child;
  int in = -1;
  int out = -1;
  int err = -1;
  ~Streams() {
    for (const int fd : {child.in, child.out, child.err, in, out, err}) {
      if (fd >= 0) close(fd);
    }
  }
};

Command command;
Process table[kMost];
char inputs[kMost][InputQueue::kCapacity];  // of those, by their place; not in them, so that the program does not hold its zeros
int cgroup_fd = -1;
char buffer[32 * 1024];
Retained retained;                         // of the workload's output
std::optional<Exited> over;                // of the workload …
bool told_over = false;                    // … as this agent knows
constexpr std::uint16_t kNobody = 0xffff;  // number of processes whose agent is dead: they are killed, and what they write is dropped

void set_nonblocking(int fd) noexcept { fcntl(fd, F_SETFL, O_NONBLOCK); }

// ---- start

// A step that failed, or nullptr.
const char* open_terminal(Streams& streams, std::uint16_t number, const Attributes& attributes) noexcept {
  terminal::Ends ends;
  if (!terminal::open(ends)) return "open of a terminal";
  streams.out = ends.master;
  streams.child.in = ends.slave;
  streams.child.out = fcntl(ends.slave, F_DUPFD_CLOEXEC, 0);
  streams.child.err = fcntl(ends.slave, F_DUPFD_CLOEXEC, 0);
  streams.in = fcntl(ends.master, F_DUPFD_CLOEXEC, 0);
  if (streams.child.out < 0 || streams.child.err < 0 || streams.in < 0) return "open of a terminal";
  if (attributes.rows != 0 || attributes.columns != 0) terminal::resize(ends.master, attributes.rows, attributes.columns);
  return number == 0 && !terminal::bind_console(ends.master) ? "bind of /dev/console" : nullptr;
}

bool open_pipe(int& read_end, int& write_end) noexcept {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  read_end = ends[0];
  write_end = ends[1];
  return true;
}

const char* open_streams(Streams& streams, std::uint16_t number, const Attributes& attributes) noexcept {
  if (attributes.tty != 0) return open_terminal(streams, number, attributes);
  if (!open_pipe(streams.out, streams.child.out) || !open_pipe(streams.err, streams.child.err)) return "pipe";
  if (attributes.open_stdin != 0 && !open_pipe(streams.child.in, streams.in)) return "pipe";
  for (const int fd : {streams.in, streams.out, streams.err}) {
    if (fd >= 0) set_nonblocking(fd);
  }
  return nullptr;
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

// In the parent: waits until execve closed the pipe, or a step's failure came through it.
const char* await_execve(int report_fd) noexcept {
  static ChildReport report;
  ssize_t count = 0;
  while ((count = read(report_fd, &report, sizeof report)) < 0 && errno == EINTR) continue;
  if (count == 0) return nullptr;
  report.step[sizeof report.step - 1] = '\0';
  errno = report.number;
  return report.step;
}

const char* run(Streams& streams, const Attributes& attributes, pid_t& pid) noexcept {
  int report[2] = {-1, -1};
  if (!open_pipe(report[0], report[1])) return "pipe";
  pid = fork_into_group();
  if (pid == 0) become(command, attributes, streams.child, report[1]);
  const int error = errno;
  close(report[1]);
  errno = error;
  const char* failed = pid < 0 ? "clone3" : await_execve(report[0]);
  close(report[0]);
  return failed;
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

void take(Process& process, std::uint16_t number, pid_t pid, Streams& streams, bool tty) noexcept {
  process.used = true;
  process.number = number;
  process.pid = pid;
  process.out = std::exchange(streams.out, -1);
  process.err = std::exchange(streams.err, -1);
  process.sent = process.taken = process.input_told = 0;
  process.input_told_open = streams.in >= 0;
  process.ended = false;
  if (streams.in >= 0) process.input.begin(std::exchange(streams.in, -1), tty, inputs[&process - table]);
}

// ---- streams

void forget(int& fd) noexcept {
  if (fd >= 0) close(fd);
  fd = -1;
}

// Bytes of output that may be sent now.
std::uint64_t allowed(const Process& process) noexcept {
  const std::uint64_t window =
      process.ended ? kMostAtEnd - (process.sent - process.sent_at_end) : kOutputWindow - (process.sent - process.taken);
  return process.number == 0 ? std::min<std::uint64_t>(window, retained.room()) : window;
}

void send_output(std::uint16_t number, std::uint8_t stream, std::string_view text) noexcept {
  Output output;
  output.stream = stream;
  output.text = text;
  channel::send(output, number);
}

void send_retained() noexcept {
  while (retained.waits() && channel::has_room()) {
    const Retained::Piece piece = retained.next(sizeof buffer);
    send_output(0, piece.stream, piece.bytes);
    retained.sent(piece.bytes.size());
  }
}

// One read. False when there is nothing now or any more, or no room for it.
bool forward_once(Process& process, int& fd, std::uint8_t stream) noexcept {
  const std::uint64_t most = allowed(process);
  if (fd < 0 || most == 0 || !channel::has_room()) return false;
  const ssize_t count = read(fd, buffer, most < sizeof buffer ? most : sizeof buffer);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return errno == EINTR;
  if (count <= 0) {  // EIO: nobody holds the terminal any more
    forget(fd);
    return false;
  }
  process.sent += static_cast<std::uint64_t>(count);
  const std::string_view text(buffer, static_cast<std::size_t>(count));
  if (process.number == 0) {
    retained.add(stream, text);
    send_retained();
  } else if (process.number != kNobody) {
    send_output(process.number, stream, text);
  }
  return true;
}

// Not of each piece: of a quarter of the window, of the last byte, and of the end.
void tell_input(Process& process) noexcept {
  const InputQueue& input = process.input;
  const std::uint64_t taken = input.taken();
  const bool much = taken - process.input_told >= kInputWindow / 4;
  const bool changed = input.open() != process.input_told_open;
  if (!changed && !much && (input.waits() || taken == process.input_told)) return;
  if (!channel::has_room()) return;
  process.input_told = taken;
  process.input_told_open = input.open();
  InputTaken message;
  message.position = taken;
  message.open = input.open() ? 1 : 0;
  channel::send(message, process.number);
}

void finish(Process& process) noexcept {
  Exited exited;
  exited.at = process.ended_at;
  exited.signaled = WIFSIGNALED(process.status) ? 1 : 0;
  exited.code = WIFSIGNALED(process.status) ? WTERMSIG(process.status) : WEXITSTATUS(process.status);
  exited.oom = exited.signaled != 0 && exited.code == SIGKILL && oom_kills() > 0 ? 1 : 0;
  if (process.number == 0) {
    over = exited;
  } else if (process.number != kNobody) {
    channel::send(exited, process.number);
  }
  forget(process.out);
  forget(process.err);
  process.input.close();
  process.used = false;
}

void move_ended(Process& process) noexcept {
  while (forward_once(process, process.out, 1)) continue;
  while (forward_once(process, process.err, 2)) continue;
  if (channel::has_room()) finish(process);
}

void tell_over() noexcept {
  if (!over || told_over || retained.waits() || !channel::has_room()) return;
  told_over = true;
  channel::send(*over, 0);
}

void move_living(Process& process) noexcept {
  forward_once(process, process.out, 1);
  forward_once(process, process.err, 2);
  process.input.write();
  tell_input(process);
}

// ---- ends

void has_ended(pid_t pid, int status) noexcept {
  for (Process& process : table) {
    if (!process.used || process.ended || process.pid != pid) continue;
    process.ended = true;
    process.status = status;
    process.ended_at = now();
    process.sent_at_end = process.sent;
  }
}

// As the end of a PID namespace's init does to a container. Once is enough: a fork that meets the signal fails, and orphans become our
// children. kill(2) itself says nothing, because it counts kernel threads too.
void end_all_others() noexcept {
  kill(-1, SIGKILL);
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, 0)) > 0 || errno == EINTR) {
    if (pid > 0) has_ended(pid, status);
  }
}

bool any_but_the_workload() noexcept {
  for (const Process& process : table) {
    if (process.used && process.number != 0) return true;
  }
  return false;
}

}  // namespace

Command& next() noexcept { return command; }

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

bool start(std::uint16_t number, const Attributes& attributes) noexcept {
  Process* process = find(number) == nullptr ? free_slot() : nullptr;
  Streams streams;
  pid_t pid = -1;
  const char* failed = nullptr;
  if (process == nullptr) {
    failed = "start of another process";
    errno = EAGAIN;
  } else if (!command.complete()) {
    failed = "collection of arguments";
    errno = E2BIG;
  }
  if (failed == nullptr) failed = open_streams(streams, number, attributes);
  if (failed == nullptr) failed = run(streams, attributes, pid);
  const int error = errno;
  command.clear();
  if (failed != nullptr) {
    channel::fail(number, failed, error);
    return false;
  }
  take(*process, number, pid, streams, attributes.tty != 0);
  Executed executed;
  executed.at = now();
  channel::send(executed, number);
  return true;
}

void signal(std::uint16_t number, const Signal& signal) noexcept {
  const Process* process = find(number);
  if (signal.whole_tree != 0) {
    kill(-1, signal.number);
  } else if (process != nullptr && !process->ended) {
    kill(process->pid, signal.number);
  }
}

bool feed(std::uint16_t number, std::string_view bytes) noexcept {
  Process* process = find(number);
  return process == nullptr || process->input.push(bytes);
}

void end_input(std::uint16_t number) noexcept {
  if (Process* process = find(number)) process->input.end();
}

void resize(std::uint16_t number, const Resize& size) noexcept {
  const Process* process = find(number);
  if (process != nullptr && process->out >= 0) terminal::resize(process->out, size.rows, size.columns);
}

bool output_taken(std::uint16_t number, std::uint64_t position) noexcept {
  Process* process = find(number);
  if (process == nullptr) return true;
  if (position > process->sent || position < process->taken) return false;
  process->taken = position;
  if (number == 0) retained.acknowledge(position);
  return true;
}

Attached attach(std::uint64_t output) noexcept {
  for (Process& process : table) {
    if (!process.used || process.number == 0) continue;
    if (!process.ended) kill(process.pid, SIGKILL);
    process.number = kNobody;
    process.input.close();
    process.input_told = process.input.taken();
    process.input_told_open = false;
  }
  Attached attached;
  attached.at = now();
  attached.output = retained.rewind(output);
  if (Process* workload = find(0)) {
    workload->taken = std::max(workload->taken, attached.output);
    attached.input = workload->input.received();
    attached.input_taken = workload->input_told = workload->input.taken();
    attached.input_open = workload->input_told_open = workload->input.open();
  }
  told_over = false;
  command.clear();
  return attached;
}

std::size_t poll_fds(std::span<pollfd> fds) noexcept {
  std::size_t count = 0;
  for (const Process& process : table) {
    if (!process.used || !channel::has_room()) continue;
    const bool reads = allowed(process) > 0;
    if (reads && process.out >= 0) fds[count++] = {process.out, POLLIN, 0};
    if (reads && process.err >= 0) fds[count++] = {process.err, POLLIN, 0};
    if (process.input.waits()) fds[count++] = {process.input.fd(), POLLOUT, 0};
  }
  return count;
}

void move() noexcept {
  send_retained();
  for (Process& process : table) {
    if (!process.used) continue;
    if (!process.ended) {
      move_living(process);
    } else if (process.number != 0) {
      move_ended(process);
    }
  }
  Process* workload = find(0);
  if (workload != nullptr && workload->ended && !any_but_the_workload()) move_ended(*workload);
  tell_over();
}

void reap() noexcept {
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) has_ended(pid, status);
  const Process* workload = find(0);
  if (workload != nullptr && workload->ended) end_all_others();
}

}  // namespace tare::guest::processes
