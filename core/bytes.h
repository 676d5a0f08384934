// SPDX-License-Identifier: Apache-2.0
// Bytes that nobody can guess, and bytes as text. Any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tare {

/// `count` bytes of the kernel's generator, 256 at most. Throws Error.
std::string random_bytes(std::size_t count);
/// Two lower-case digits for each byte.
std::string hex_of(std::string_view bytes);

}  // namespace tare
