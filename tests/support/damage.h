// SPDX-License-Identifier: Apache-2.0
// What a hostile end makes of a stream.
#pragma once

#include <cstdint>
#include <string>

namespace tare::test {

/// Flips, inserts, removes, repeats and cuts off, at `hits` places that `random` chooses.
template <class Random>
std::string damaged(std::string bytes, std::uint32_t hits, Random& random) {
  const auto below = [&](std::uint32_t bound) { return static_cast<std::uint32_t>(random() % bound); };
  for (; hits > 0 && !bytes.empty(); --hits) {
    const std::size_t at = below(static_cast<std::uint32_t>(bytes.size()));
    switch (below(5)) {
      case 0: bytes[at] = static_cast<char>(random()); break;
      case 1: bytes.insert(at, 1 + below(20), static_cast<char>(random())); break;
      case 2: bytes.erase(at, 1 + below(20)); break;
      case 3: bytes.insert(at, bytes.substr(at, 40)); break;
      default: bytes.resize(at); break;
    }
  }
  return bytes;
}

}  // namespace tare::test
