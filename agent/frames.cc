// SPDX-License-Identifier: Apache-2.0
#include "agent/frames.h"

#include "core/error.h"

namespace tare::agent {
namespace {

constexpr std::size_t kHeadSize = 8;
constexpr std::size_t kLargestFrame = 1 << 20;

}  // namespace

std::string frame(FrameKind kind, std::string_view bytes) {
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::string out = {static_cast<char>(kind), 0, 0, 0};
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((size >> shift) & 255U);
  out += bytes;
  return out;
}

std::vector<FrameParser::Frame> FrameParser::feed(std::string_view bytes) {
  rest_ += bytes;
  std::vector<Frame> out;
  std::size_t at = 0;
  while (rest_.size() - at >= kHeadSize) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(rest_[at + i]); };
    const std::size_t size = (std::size_t{byte(4)} << 24U) | (std::size_t{byte(5)} << 16U) | (std::size_t{byte(6)} << 8U) | byte(7);
    if (byte(0) > 4 || byte(1) != 0 || byte(2) != 0 || byte(3) != 0 || size > kLargestFrame) {
      throw Error(Code::invalid, "the stream holds what is no frame");
    }
    if (rest_.size() - at < kHeadSize + size) break;
    out.push_back({static_cast<FrameKind>(byte(0)), rest_.substr(at + kHeadSize, size)});
    at += kHeadSize + size;
  }
  rest_.erase(0, at);
  return out;
}

}  // namespace tare::agent
