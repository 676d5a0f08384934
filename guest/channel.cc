// SPDX-License-Identifier: Apache-2.0
#include "guest/channel.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "guest/kernel.h"

namespace tare::guest::channel {
namespace {

constexpr int kDevices = 16;       // more than any plan of ours has on the virtio bus
constexpr int kPortWait = 10'000;  // ms; the host's end of the port is configured before the guest runs
constexpr int kLookForHost = 10;   // ms; nothing else tells of a host that comes back

int port = -1;
bool connected = true;  // as far as the last poll() told
std::uint32_t sent = 0;
char out[2 * kMaxFrame];
std::size_t waiting = 0;  // bytes at the begin of `out`
char in[2 * kMaxFrame];
Parser parser{in};
char token[kTokenSize];
bool has_token = false;
bool attaching = false;  // the token has come, and not all that belongs to it

// The one port of the one virtio-serial device, whose number on the virtio bus depends on the order in which the devices were found: 0 on
// microvm, and behind the network card on q35.
int try_open() noexcept {
  for (int device = 0; device < kDevices; ++device) {
    char path[32];
    std::snprintf(path, sizeof path, "/dev/vport%dp1", device);
    const int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) return fd;
  }
  return -1;
}

// Writes what the host takes now. False when the port is gone.
bool flush() noexcept {
  std::size_t done = 0;
  bool good = true;
  while (done < waiting) {
    const ssize_t count = write(port, out + done, waiting - done);
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (count == 0 || errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      good = false;
      break;
    }
  }
  waiting -= done;
  std::memmove(out, out + done, waiting);
  return good;
}

// In the newest `fresh` bytes, and where it began before them.
void look_for_token(std::size_t fresh) noexcept {
  if (attaching) return;
  const std::string_view unread = parser.unread();
  const std::size_t from = unread.size() - std::min(unread.size(), fresh + kTokenSize - 1);
  const std::size_t at = unread.find({token, kTokenSize}, from);
  if (at == std::string_view::npos) return;
  parser.restart(at);
  attaching = true;
}

bool receive() noexcept {
  const std::span<char> space = parser.room();
  if (space.empty()) return true;  // whole frames wait in it
  const ssize_t count = read(port, space.data(), space.size());
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  connected = count > 0;
  parser.filled(static_cast<std::size_t>(count));
  if (count > 0 && has_token) look_for_token(static_cast<std::size_t>(count));
  return true;
}

}  // namespace

bool open_port() noexcept {
  // The driver makes the port from a work queue some time after it was loaded.
  const int watch = inotify_init1(IN_CLOEXEC);
  inotify_add_watch(watch, "/dev", IN_CREATE);
  const std::int64_t give_up = now() + std::int64_t{kPortWait} * 1'000'000;
  while ((port = try_open()) < 0 && now() < give_up) {
    pollfd wait{watch, POLLIN, 0};
    char events[1024];
    if (poll(&wait, 1, 100) > 0 && read(watch, events, sizeof events) < 0) break;
  }
  close(watch);
  return port >= 0;
}

bool is_open() noexcept { return port >= 0; }

int prepare_poll(pollfd& fd) noexcept {
  const int events = (has_room() ? POLLIN : 0) | (waiting > 0 ? POLLOUT : 0);
  fd = {connected ? port : -1, static_cast<short>(events), 0};
  const int timeout = connected ? -1 : kLookForHost;
  connected = true;
  return timeout;
}

bool serve_poll(const pollfd& fd) noexcept {
  if (!flush()) return false;
  if ((fd.revents & (POLLIN | POLLHUP)) == 0) return true;
  if (has_room()) return receive();  // nothing when no host is there any more
  connected = (fd.revents & POLLHUP) == 0;
  return true;
}

void drain(int milliseconds) noexcept {
  const std::int64_t give_up = now() + std::int64_t{milliseconds} * 1'000'000;
  while (flush() && waiting > 0 && now() < give_up) {
    pollfd writable{port, POLLOUT, 0};
    poll(&writable, 1, kLookForHost);
  }
}

void expect(std::string_view text) noexcept {
  has_token = text.size() == kTokenSize;
  if (has_token) std::memcpy(token, text.data(), kTokenSize);
}

std::optional<std::uint64_t> attached() noexcept {
  const std::string_view unread = parser.unread();
  if (!attaching || unread.size() < kAttachSize) return std::nullopt;
  std::uint64_t position = 0;
  Decoder decoder(unread.substr(kTokenSize, kAttachSize - kTokenSize));
  decoder(position);
  parser.restart(kAttachSize);
  attaching = false;
  sent = 0;
  std::memcpy(out, token, kTokenSize);  // what waits is in the middle of the stream that has ended
  waiting = kTokenSize;
  return position;
}

bool has_room() noexcept { return sizeof out - waiting >= kMaxFrame; }
std::uint32_t sequence() noexcept { return sent; }

std::span<char> room() noexcept {
  while (!has_room()) drain(kLookForHost);
  return std::span(out).subspan(waiting);
}

void commit(std::size_t size) noexcept {
  if (size == 0) return;
  ++sent;
  waiting += size;
  flush();  // an error is seen by the next serve_poll()
}

bool send(Type type, std::uint16_t process, std::string_view payload) noexcept {
  const std::size_t size = encode_frame(type, process, sent, payload, room());
  commit(size);
  return size > 0;
}

void fail(std::uint16_t process, const char* step, int error) noexcept {
  Failure failure;
  failure.number = error;
  failure.text = step;
  send(failure, process);
}

bool next(Frame& frame) noexcept {
  if (attaching) return false;
  switch (parser.next(frame)) {
    case Parser::Result::frame: return true;
    case Parser::Result::incomplete: return false;
    case Parser::Result::corrupt: break;
  }
  complain(parser.fault(), EPROTO);
  power_off();
}

}  // namespace tare::guest::channel
