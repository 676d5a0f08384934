// SPDX-License-Identifier: Apache-2.0
// The files of a log: PATH.<n>, where n is the position of the file's first byte in the whole log, and in them frames, one for each piece
// of output. So a reader goes on where a file ends, and a file that was removed is one whose name is missing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tare {

/// The head of a frame.
struct LogFrame {
  std::uint32_t size = 0;    // bytes that follow
  std::uint32_t stream = 0;  // 1 stdout, 2 stderr, 3 a sentence of the writer's
  std::int64_t at = 0;       // CLOCK_MONOTONIC of the writer's read
};
static_assert(sizeof(LogFrame) == 16);

std::string log_file(const std::string& path, std::uint64_t position);
/// Positions at which a file begins, the oldest first.
std::vector<std::uint64_t> log_files(const std::string& path);

}  // namespace tare
