// SPDX-License-Identifier: Apache-2.0
#include "vm/channel.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "vm/unix_address.h"

namespace tare::vm {
namespace {

// More than any process' arguments and environment with their frames: execve takes 2 MiB. So a guest that hangs costs no more.
constexpr std::size_t kMostQueued = 8 << 20;
constexpr std::size_t kMostStale = 4 << 20;  // of what a guest says before it answers to its token: more than its buffer and QEMU's hold

}  // namespace

void ClockMap::add(Instant sent, std::int64_t guest_nanoseconds, Instant received) {
  const std::int64_t round_trip = (received - sent).count();
  if (round_trip < 0) return;
  if (exchanges_++ > 0 && round_trip >= least_round_trip_) return;
  least_round_trip_ = round_trip;
  offset_ = sent.nanoseconds + round_trip / 2 - guest_nanoseconds;
}

Channel::Channel(const std::string& path, Callbacks callbacks, Position position)
    : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      callbacks_(std::move(callbacks)),
      room_(2 * guest::kMaxFrame),
      parser_(room_, position.received),
      queued_(position.sent),
      buffer_(guest::kMaxFrame) {
  const sockaddr_un address = unix_address(path, "channel");
  if (!socket_ || ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw Error(Code::failed, errno_text("connect to channel " + path));
  }
}

Channel::Channel(const std::string& path, Callbacks callbacks, const Attach& attach) : Channel(path, std::move(callbacks)) {
  awaited_ = attach.token;
  guest::Encoder position(buffer_);
  position(attach.output);
  outgoing_ = attach.token + std::string(buffer_.data(), position.size());
  bytes_queued_ = outgoing_.size();
  write_some();
}

void Channel::listen() {
  receiver_ = std::thread([this] { receive(); });
}

void Channel::end() {
  ::shutdown(socket_.get(), SHUT_RDWR);
  if (receiver_.joinable()) receiver_.join();
}

Channel::~Channel() { end(); }

void Channel::queue_text(guest::Type type, const std::string& text, std::uint16_t process) {
  const std::lock_guard lock(sending_);
  const std::size_t size = guest::encode_frame(type, process, queued_, text, buffer_);
  if (size == 0) throw Error(Code::invalid, "'" + text.substr(0, 40) + "…' is longer than one argument may be");
  append(size);
}

void Channel::queue_setting(guest::Setting::Key key, const std::string& text) {
  guest::Setting setting;
  setting.key = static_cast<std::uint8_t>(key);
  setting.text = text;
  queue(setting);
}

void Channel::append(std::size_t size) {
  if (size == 0) throw Error(Code::invalid, "a message to the guest is too long");
  if (outgoing_.size() + size > kMostQueued) throw Error(Code::exhausted, "the guest does not read: its queue of messages is full");
  ++queued_;
  outgoing_.append(buffer_.data(), size);
  bytes_queued_ += size;
}

// 0 when nothing is left, else the errno that stopped it.
int Channel::write_some() {
  const std::lock_guard lock(sending_);
  std::size_t done = 0;
  int error = 0;
  while (done < outgoing_.size() && error == 0) {
    const ssize_t count = ::send(socket_.get(), outgoing_.data() + done, outgoing_.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EINTR) error = errno;
    if (count > 0) done += static_cast<std::size_t>(count);
  }
  outgoing_.erase(0, done);
  bytes_written_ += done;
  return error;
}

void Channel::flush(Deadline deadline) {
  std::uint64_t goal = 0;
  {
    const std::lock_guard lock(sending_);
    goal = bytes_queued_;
  }
  for (;;) {
    const int error = write_some();
    if (error == 0) return;
    if (error != EAGAIN) throw Error(Code::failed, errno_text("send to the guest", error));
    {
      const std::lock_guard lock(sending_);
      if (bytes_written_ >= goal) return;  // what is left came later and is others' to wait for
    }
    if (deadline.passed()) throw Error(Code::timeout, "the guest did not read what was sent to it in time");
    pollfd writable{socket_.get(), POLLOUT, 0};
    ::poll(&writable, 1, deadline.poll_timeout());
  }
}

void Channel::receive() {
  std::string why;
  try {
    why = pump();
  } catch (const std::exception& error) {  // the top of a thread
    why = error.what();
  }
  ::shutdown(socket_.get(), SHUT_RDWR);
  callbacks_.ended(why);
}

std::string Channel::pump() {
  for (;;) {
    pollfd readable{socket_.get(), POLLIN, 0};
    ::poll(&readable, 1, -1);
    if (std::string why = take_what_came(); !why.empty()) return why;
  }
}

// Why nothing more can come, or nothing.
std::string Channel::take_what_came() {
  const std::lock_guard lock(receiving_);
  const auto space = parser_.room();
  const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), MSG_DONTWAIT);
  const Instant arrived = Instant::now();
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (count <= 0) return "the channel was closed";
  write_some();  // it is alive: what a deadline left may go now
  parser_.filled(static_cast<std::size_t>(count));
  if (!awaited_.empty() && !drop_to_token()) return dropped_ > kMostStale ? "the guest does not answer to its token" : "";
  guest::Frame frame;
  guest::Parser::Result result;
  while ((result = parser_.next(frame)) == guest::Parser::Result::frame) callbacks_.frame(frame, arrived);
  if (result == guest::Parser::Result::corrupt) return std::string("the guest sent nonsense: ") + parser_.fault();
  return {};
}

// False while it has not come.
bool Channel::drop_to_token() {
  const std::string_view unread = parser_.unread();
  const std::size_t at = unread.find(awaited_);
  if (at == std::string_view::npos) {
    const std::size_t count = unread.size() - std::min(unread.size(), awaited_.size() - 1);
    dropped_ += count;
    parser_.restart(count);
    return false;
  }
  parser_.restart(at + awaited_.size());
  awaited_.clear();
  return true;
}

std::uint32_t Channel::sent() {
  const std::lock_guard lock(sending_);
  return queued_;
}

std::optional<Position> Channel::settle() {
  const std::scoped_lock lock(receiving_, sending_);
  int waiting = 0;
  const bool read = ::ioctl(socket_.get(), FIONREAD, &waiting) == 0 && waiting == 0;
  if (!read || !parser_.is_empty() || !outgoing_.empty()) return std::nullopt;
  return Position{queued_, parser_.expected()};
}

}  // namespace tare::vm
