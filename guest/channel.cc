// SPDX-License-Identifier: Apache-2.0
#include "guest/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "guest/kernel.h"

namespace tare::guest::channel {
namespace {

constexpr int kDevices = 16;       // more than any plan of ours has on the virtio bus
constexpr int kPortWait = 10'000;  // ms; the host's end of the port is configured before the guest runs

int port = -1;
std::uint32_t sent = 0;
char out[kMaxFrame];
char in[2 * kMaxFrame];
Parser parser{in};

// The one port of the one virtio-serial device, whose number on the virtio bus depends on the order in which the devices were found: 0 on
// microvm, and behind the network card on q35.
int try_open() noexcept {
  for (int device = 0; device < kDevices; ++device) {
    char path[32];
    std::snprintf(path, sizeof path, "/dev/vport%dp1", device);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) return fd;
  }
  return -1;
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

int fd() noexcept { return port; }
std::span<char> scratch() noexcept { return out; }
std::uint32_t sequence() noexcept { return sent; }

bool send_encoded(std::span<const char> frame) noexcept {
  ++sent;
  while (!frame.empty()) {
    const ssize_t count = write(port, frame.data(), frame.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    frame = frame.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

bool send(Type type, std::uint16_t process, std::string_view payload) noexcept {
  const std::size_t size = encode_frame(type, process, sent, payload, out);
  return size > 0 && send_encoded(scratch().first(size));
}

void fail(std::uint16_t process, const char* step, int error) noexcept {
  Failure failure;
  failure.number = error;
  failure.text = step;
  send(failure, process);
}

bool receive() noexcept {
  const std::span<char> room = parser.room();
  const ssize_t count = read(port, room.data(), room.size());
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  if (count == 0) {  // no host is connected now: wait for the next agent without spinning
    poll(nullptr, 0, 10);
    return true;
  }
  parser.filled(static_cast<std::size_t>(count));
  return true;
}

bool next(Frame& frame) noexcept {
  switch (parser.next(frame)) {
    case Parser::Result::frame: return true;
    case Parser::Result::incomplete: return false;
    case Parser::Result::corrupt: break;
  }
  complain(parser.fault(), EPROTO);
  power_off();
}

}  // namespace tare::guest::channel
