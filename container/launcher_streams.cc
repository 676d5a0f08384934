// SPDX-License-Identifier: Apache-2.0
// What comes out of the processes of tare-launcher, and what goes in.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "container/launcher_loop.h"
#include "container/launcher_system.h"
#include "container/receive.h"
#include "core/log_files.h"

namespace tare::container {

void LauncherLoop::read_stream(Process& process, Fd& stream, std::uint32_t number) {
  static char buffer[sizeof(LogFrame) + 32 * 1024];
  const ssize_t count = read(stream.get(), buffer + sizeof(LogFrame), sizeof buffer - sizeof(LogFrame));
  if (count < 0 && errno != EIO) return;
  if (count <= 0) {  // EIO: nobody holds the terminal any more
    streams_.erase(stream.get());
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, stream.get(), nullptr);  // see unwatch_input()
    stream.reset();
  } else {
    process.log->append(buffer, static_cast<std::size_t>(count), number, monotonic_now());
  }
  if (process.followed && process.log_size() - process.log_read > kLogWindow) hold_streams(process, true);
  tell_log(process);
}

void LauncherLoop::hold_streams(Process& process, bool held) {
  if (process.held == held) return;
  process.held = held;
  for (const Fd* stream : {&process.out, &process.err}) {
    if (!*stream) continue;
    if (held) {
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, stream->get(), nullptr);
    } else {
      watch(stream->get(), EPOLLIN);
    }
  }
}

void LauncherLoop::log_read(const LogRead& message) {
  const auto found = processes_.find(message.key);
  if (found == processes_.end()) return;
  Process& process = *found->second;
  process.followed = message.position != kNobodyReads;
  if (!process.followed) return hold_streams(process, false);
  process.log_read = message.position;
  if (process.log_size() - process.log_read <= kLogWindow / 2) hold_streams(process, false);
}

void LauncherLoop::drain(Process& process) {
  for (const auto& [stream, number] : {std::pair{&process.out, 1U}, {&process.err, 2U}}) {
    // Bounded: a descendant could write for ever.
    for (int i = 0; i < 64 && *stream && readable(stream->get()); ++i) read_stream(process, *stream, number);
  }
}

void LauncherLoop::tell_log(Process& process) {
  const bool closed = process.log_open && !process.out && !process.err;
  if (process.executed == 0 || !process.log_open || (process.log_told == process.log_size() && !closed)) return;
  for (const auto& [fd, connection] : connections_) {
    if (!connection.outgoing.empty()) return;  // too slow to be told of each piece; flush() tells it the rest
  }
  process.log_told = process.log_size();
  send_all(encode(LogGrew{process.plan.key, process.log_size(), closed}));
  if (closed) process.log_open = false;
}

// The child has sent it before its execve.
void LauncherLoop::take_terminal(Process& process) {
  if (!process.terminal) return;
  Fd master = receive_descriptor(process.terminal.get());
  process.terminal.reset();
  if (!master) return;
  process.input = InputQueue(Fd(fcntl(master.get(), F_DUPFD_CLOEXEC, 0)), true);
  process.out = std::move(master);
  streams_[process.out.get()] = {&process, 1};
  if (!process.held) watch(process.out.get(), EPOLLIN);
}

void LauncherLoop::feed(int connection, const Feed& message) {
  const auto found = processes_.find(message.key);
  if (found == processes_.end()) return;
  Process& process = *found->second;
  unwatch_input(process);
  const bool good = process.input.push(message.bytes.bytes, message.end);
  process.input.write();
  watch_input(process);
  if (!good) return drop(connection);  // not one of ours: it does not keep to the window
  tell_input(process);
}

void LauncherLoop::write_input(Process& process) {
  unwatch_input(process);
  process.input.write();
  watch_input(process);
  tell_input(process);
}

// Only while something waits: an epoll would tell of a reader's end for ever.
void LauncherLoop::watch_input(Process& process) {
  if (!process.input.waits()) return;
  process.input_watched = process.input.fd();
  streams_[process.input_watched] = {&process, 3};
  watch(process.input_watched, EPOLLOUT);
}

// Before it may be closed: a terminal's master is open twice, and an epoll forgets a file with its last descriptor only.
void LauncherLoop::unwatch_input(Process& process) {
  if (process.input_watched < 0) return;
  streams_.erase(process.input_watched);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, process.input_watched, nullptr);
  process.input_watched = -1;
}

void LauncherLoop::close_input(Process& process) {
  unwatch_input(process);
  process.input.close();
}

// Not of each piece: of a quarter of the window, of the last byte, and of the end.
void LauncherLoop::tell_input(Process& process) {
  const std::uint64_t taken = process.input.taken();
  const bool much = taken - process.input_told >= kInputWindow / 4;
  if (process.input.open() && !much && (process.input.waits() || taken == process.input_told)) return;
  process.input_told = taken;
  send_all(encode(Fed{process.plan.key, taken, process.input.open()}));
}

void LauncherLoop::resize(const Resize& message) {
  const auto found = processes_.find(message.key);
  if (found == processes_.end() || !found->second->plan.tty || !found->second->out) return;
  const winsize size{message.rows, message.columns, 0, 0};
  ioctl(found->second->out.get(), TIOCSWINSZ, &size);
}

}  // namespace tare::container
