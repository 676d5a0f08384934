// SPDX-License-Identifier: Apache-2.0
// The frames in which output travels, as in Docker's attach and logs: byte 0 the stream, bytes 1–3 zero, bytes 4–7 the size, big-endian,
// then the bytes. Agent and client share them. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tare::agent {

/// Streams of a frame. 1 and 2 are Docker's stdout and stderr.
enum class FrameKind : std::uint8_t {
  in = 0,  // client → agent: bytes for stdin; without bytes: its end
  out = 1,
  err = 2,
  notice = 3,   // a sentence of the agent itself
  control = 4,  // JSON. agent → client: {"exit": …}, the last frame; client → agent: {"signal": "INT"}
};
std::string frame(FrameKind kind, std::string_view bytes);

/// Frames out of bytes that are cut anywhere.
class FrameParser {
 public:
  struct Frame {
    FrameKind kind;
    std::string bytes;
  };
  /// Throws Error(invalid) for a head that is none, and for a frame of more than 1 MiB.
  std::vector<Frame> feed(std::string_view bytes);

 private:
  std::string rest_;
};

}  // namespace tare::agent
