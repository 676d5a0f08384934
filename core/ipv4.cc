// SPDX-License-Identifier: Apache-2.0
#include "core/ipv4.h"

#include <arpa/inet.h>

#include <charconv>

namespace tare::ipv4 {

std::string text_of(std::uint32_t address) {
  in_addr raw{htonl(address)};
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &raw, text, sizeof text);
}

std::optional<std::uint32_t> parse(std::string_view text) {
  in_addr raw{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &raw) != 1) return std::nullopt;
  return ntohl(raw.s_addr);
}

std::optional<Range> parse_range(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto base = parse(text.substr(0, slash));
  Range range;
  const char* end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data() + slash + 1, end, range.prefix);
  if (!base || failed != std::errc{} || stop != end || range.prefix < 0 || range.prefix > 32) return std::nullopt;
  range.base = *base;
  const std::uint32_t hosts = range.prefix == 0 ? ~0U : (1U << (32 - range.prefix)) - 1;
  if ((range.base & hosts) != 0) return std::nullopt;
  return range;
}

}  // namespace tare::ipv4
