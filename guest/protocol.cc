// SPDX-License-Identifier: Apache-2.0
#include "guest/protocol.h"

namespace tare::guest {

bool known(std::uint16_t type) noexcept {
  const auto first = [](Type t) { return static_cast<std::uint16_t>(t); };
  return (type >= first(Type::argument) && type <= first(Type::mount)) || (type >= first(Type::hello) && type <= first(Type::attached));
}

std::size_t encode_frame(Type type, std::uint16_t process, std::uint32_t sequence, std::string_view payload, std::span<char> out) noexcept {
  if (payload.size() > kMaxPayload || out.size() < kHeaderSize + payload.size()) return 0;
  Encoder header(out);
  header(kMagic), header(static_cast<std::uint16_t>(type)), header(process);
  header(static_cast<std::uint32_t>(payload.size())), header(sequence);
  if (!payload.empty()) std::memmove(out.data() + kHeaderSize, payload.data(), payload.size());
  return kHeaderSize + payload.size();
}

std::span<char> Parser::room() noexcept {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return buffer_.subspan(end_);
}

void Parser::restart(std::size_t count) noexcept {
  begin_ += count;
  expected_ = 0;
  fault_ = nullptr;
}

Parser::Result Parser::next(Frame& frame) noexcept {
  if (fault_ != nullptr) return Result::corrupt;
  if (end_ - begin_ < kHeaderSize) return Result::incomplete;
  std::uint32_t magic = 0, length = 0, sequence = 0;
  std::uint16_t type = 0, process = 0;
  Decoder header({buffer_.data() + begin_, kHeaderSize});
  header(magic), header(type), header(process), header(length), header(sequence);
  if (magic != kMagic) return corrupt("a frame does not begin with the magic number");
  if (!known(type)) return corrupt("a frame has an unknown type");
  if (length > kMaxPayload) return corrupt("a frame is longer than the protocol allows");
  if (sequence != expected_) return corrupt("a frame is missing");
  if (end_ - begin_ - kHeaderSize < length) return Result::incomplete;
  frame = {static_cast<Type>(type), process, sequence, {buffer_.data() + begin_ + kHeaderSize, length}};
  begin_ += kHeaderSize + length;
  ++expected_;
  return Result::frame;
}

}  // namespace tare::guest
