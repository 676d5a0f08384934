// SPDX-License-Identifier: Apache-2.0
// The fields of a message as bytes, and back: integers little-endian, a text as it is. Pure: no allocation, no exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tare::guest {

/// Writes fields into a fixed buffer; `fits` turns false instead of writing past the end.
class Encoder {
 public:
  explicit Encoder(std::span<char> out) : out_(out) {}
  template <class Integer>
  requires std::is_integral_v<Integer>
  void operator()(const Integer& value) {
    if (!reserve(sizeof(Integer))) return;
    auto bits = static_cast<std::make_unsigned_t<Integer>>(value);
    for (std::size_t i = 0; i < sizeof(Integer); ++i) out_[size_++] = static_cast<char>((bits >> (8 * i)) & 0xff);
  }
  void operator()(std::string_view text) {
    if (!reserve(text.size())) return;
    std::memcpy(out_.data() + size_, text.data(), text.size());
    size_ += text.size();
  }
  bool fits() const { return fits_; }
  std::size_t size() const { return size_; }

 private:
  bool reserve(std::size_t count) { return fits_ = fits_ && count <= out_.size() - size_; }
  std::span<char> out_;
  std::size_t size_ = 0;
  bool fits_ = true;
};

/// Reads fields back; a text is all that is left.
class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}
  template <class Integer>
  requires std::is_integral_v<Integer>
  void operator()(Integer& value) {
    if (in_.size() < sizeof(Integer)) {
      complete_ = false;
      return;
    }
    std::make_unsigned_t<Integer> bits = 0;
    for (std::size_t i = sizeof(Integer); i-- > 0;) {
      bits = static_cast<decltype(bits)>((std::uint64_t{bits} << 8) | static_cast<unsigned char>(in_[i]));
    }
    value = static_cast<Integer>(bits);
    in_.remove_prefix(sizeof(Integer));
  }
  void operator()(std::string_view& text) { text = std::exchange(in_, {}); }
  bool exact() const { return complete_ && in_.empty(); }

 private:
  std::string_view in_;
  bool complete_ = true;
};

}  // namespace tare::guest
