// SPDX-License-Identifier: Apache-2.0
#include "core/bytes.h"

#include <sys/random.h>

#include "core/error.h"

namespace tare {

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (::getrandom(bytes.data(), count, 0) != static_cast<ssize_t>(count)) throw_errno("read of random bytes");
  return bytes;
}

std::string hex_of(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    const auto bits = static_cast<unsigned char>(byte);
    text += {kDigits[bits / 16U], kDigits[bits % 16U]};
  }
  return text;
}

}  // namespace tare
