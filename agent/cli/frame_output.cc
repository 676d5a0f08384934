// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/frame_output.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/error.h"
#include "core/files.h"

namespace tare::agent::cli {

std::string write_frames(Client::Opened& stream, Interrupt& interrupt, const std::function<void(int)>& on_signal) {
  FrameParser parser;
  std::string control;
  std::string bytes = std::move(stream.received);
  std::array<char, 65536> chunk{};
  while (true) {
    for (const FrameParser::Frame& frame : parser.feed(bytes)) {
      if (frame.kind == FrameKind::control) {
        control = frame.bytes;
      } else if (frame.kind == FrameKind::out) {
        write_all(STDOUT_FILENO, frame.bytes, "stdout");
      } else {
        write_all(STDERR_FILENO, frame.bytes, "stderr");
      }
    }
    bytes.clear();
    if (!control.empty()) return control;
    std::array<pollfd, 2> polls = {pollfd{stream.connection.get(), POLLIN, 0}, pollfd{interrupt.fd(), POLLIN, 0}};
    if (::poll(polls.data(), polls.size(), -1) < 0 && errno != EINTR) throw_errno("poll");
    if (polls[1].revents != 0) {
      if (const int number = interrupt.take(); number != 0) on_signal(number);
    }
    if (polls[0].revents == 0) continue;
    const ssize_t n = ::recv(stream.connection.get(), chunk.data(), chunk.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return control;
    bytes.assign(chunk.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace tare::agent::cli
