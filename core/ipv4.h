// SPDX-License-Identifier: Apache-2.0
// IPv4 addresses and ranges as numbers in host byte order. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tare::ipv4 {

/// "10.214.0.1".
std::string text_of(std::uint32_t address);
std::optional<std::uint32_t> parse(std::string_view text);

struct Range {
  std::uint32_t base = 0;  // its lowest address
  int prefix = 32;         // leading bits that all its addresses share
  std::uint32_t last() const { return base | (prefix == 0 ? ~0U : (1U << (32 - prefix)) - 1); }
  bool contains(std::uint32_t address) const { return address >= base && address <= last(); }
  bool overlaps(const Range& other) const { return base <= other.last() && other.base <= last(); }
  std::string text() const { return text_of(base) + "/" + std::to_string(prefix); }
  bool operator==(const Range&) const = default;
};

/// "10.214.0.0/16"; nothing when it is no range, or names an address inside one ("10.214.0.1/16").
std::optional<Range> parse_range(std::string_view text);

}  // namespace tare::ipv4
