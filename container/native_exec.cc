// SPDX-License-Identifier: Apache-2.0
#include "container/native_exec.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <tuple>

#include "container/receive.h"
#include "core/error.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;

std::pair<Fd, Fd> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe");
  return {Fd(ends[0]), Fd(ends[1])};
}

void set_nonblocking(const Fd& fd) { ::fcntl(fd.get(), F_SETFL, O_NONBLOCK); }

}  // namespace

ExecStreams::ExecStreams(const ExecRequest& request) : tty_(request.tty) {
  if (tty_) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0) throw_errno("socketpair");
    terminal_ = Fd(ends[0]);
    child_out_ = Fd(ends[1]);
    return;
  }
  std::tie(out, child_out_) = make_pipe();
  std::tie(err, child_err_) = make_pipe();
  set_nonblocking(out);
  set_nonblocking(err);
  if (!request.open_stdin) return;
  Fd feeding;
  std::tie(child_in_, feeding) = make_pipe();
  set_nonblocking(feeding);
  input = InputQueue(std::move(feeding), false);
}

void ExecStreams::give(PlanFds& fds) const {
  fds.in = child_in_.get();
  fds.err = child_err_.get();
  (tty_ ? fds.terminal : fds.out) = child_out_.get();
}

void ExecStreams::started(const std::string& who) {
  child_in_.reset();
  child_out_.reset();
  child_err_.reset();
  if (!tty_) return;
  out = receive_descriptor(terminal_.get());
  if (!out) throw Error(Code::failed, who + ": its terminal was not handed over");
  input = InputQueue(Fd(::fcntl(out.get(), F_DUPFD_CLOEXEC, 0)), true);
}

NativeExec::NativeExec(std::string who, std::shared_ptr<Launcher> launcher, std::shared_ptr<NativeProcess> process, ExecStreams streams,
                       bool has_input, std::shared_ptr<void> note)
    : who_(std::move(who)),
      launcher_(std::move(launcher)),
      process_(std::move(process)),
      has_input_(has_input),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      out_(std::move(streams.out)),
      err_(std::move(streams.err)),
      input_(*this, std::move(streams.input)),
      note_(std::move(note)) {
  log_.on_read([this] { wake(); });
  process_->on_end([this](const End&) {
    over_ = true;
    wake();
  });
  mover_ = std::thread([this] { move_streams(); });
}

NativeExec::~NativeExec() {
  abandoned_ = true;
  wake();
  try {
    if (!over_) launcher_->signal(process_->key(), SIGKILL);
    process_->wait(Deadline::in(5s));
  } catch (const Error&) {  // NOLINT: it has ended, or its launcher has
  }
  process_->on_end({});
  mover_.join();
  try {
    launcher_->forget(process_->key());
  } catch (const Error&) {  // NOLINT: nobody is left who remembers
  }
}

void NativeExec::signal(int number) { launcher_->signal(process_->key(), number); }

std::optional<Exit> NativeExec::wait(Deadline deadline) {
  const auto end = process_->wait(deadline);
  return end ? std::optional(end->exit) : std::nullopt;
}

void NativeExec::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);  // full: it is awake already
}

/// False at the end of the stream.
bool NativeExec::read_some(Fd& fd, Stream stream) {
  char buffer[32 * 1024];
  const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
  if (count > 0) log_.append(stream, {buffer, static_cast<std::size_t>(count)}, Instant::now());
  return count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN));
}

void NativeExec::move_streams() {
  constexpr Bytes kMostUnread = 1_MiB;
  constexpr int kRoundsAfterTheEnd = 256;  // a descendant could write for ever
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);  // SIGPIPE among them: whoever does not read its stdin is no fault
  for (int late = 0; !abandoned_ && late < kRoundsAfterTheEnd;) {
    const bool over = over_;
    const bool full = log_.unread().value_or(0_MiB) >= kMostUnread;
    if (over && !out_ && !err_) break;
    pollfd fds[] = {{wake_.get(), POLLIN, 0},
                    {full ? -1 : out_.get(), POLLIN, 0},
                    {full ? -1 : err_.get(), POLLIN, 0},
                    {over ? -1 : input_.waiting(), POLLOUT, 0}};
    const int ready = ::poll(fds, 4, over && !full ? 0 : -1);
    if (ready == 0) break;  // it has ended, and nothing more is there
    std::uint64_t count = 0;
    if (fds[0].revents != 0 && ::read(wake_.get(), &count, sizeof count) < 0) continue;
    if (fds[1].revents != 0 && !read_some(out_, Stream::out)) out_.reset();
    if (fds[2].revents != 0 && !read_some(err_, Stream::err)) err_.reset();
    if (fds[3].revents != 0) input_.pump();
    late += over && !full ? 1 : 0;
  }
  input_.end();
  log_.close();
}

std::size_t NativeExec::Feeder::write(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (!queue_.open()) return bytes.size();
  const std::string_view piece = bytes.substr(0, queue_.room());
  queue_.push(piece, false);
  exec_.wake();
  return piece.size();
}

void NativeExec::Feeder::close() {
  const std::lock_guard lock(mutex_);
  queue_.push({}, true);
  exec_.wake();
}

void NativeExec::Feeder::resize(TerminalSize size) {
  const std::lock_guard lock(mutex_);
  const winsize kernels{size.rows, size.columns, 0, 0};
  ::ioctl(queue_.fd(), TIOCSWINSZ, &kernels);  // of a pipe: ENOTTY
}

int NativeExec::Feeder::waiting() {
  const std::lock_guard lock(mutex_);
  return queue_.waits() ? queue_.fd() : -1;
}

void NativeExec::Feeder::pump() {
  {
    const std::lock_guard lock(mutex_);
    queue_.write();
  }
  tell_room();
}

void NativeExec::Feeder::end() {
  {
    const std::lock_guard lock(mutex_);
    queue_.close();
  }
  tell_room();
}

}  // namespace tare::container
