// SPDX-License-Identifier: Apache-2.0
// Reads the framed log that a LogWriter wrote, from where the last reading ended, into a Log. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/fd.h"
#include "core/log.h"

namespace tare {

class LogTail {
 public:
  /// `path` as the writer has it: the files are path.<n>.
  explicit LogTail(std::string path) : path_(std::move(path)) {}
  /// Appends all whole frames up to position `size`. Stops for good at a head that no writer writes.
  void read_to(std::uint64_t size, Log& log);
  /// Appends one frame; false when there is none.
  bool read_one(std::uint64_t size, Log& log);
  std::uint64_t position() const { return position_; }

 private:
  bool open_file(Log& log);
  std::optional<std::uint64_t> next_file() const;

  std::string path_;
  Fd file_;
  std::uint64_t begin_ = 0;  // position of the file's first byte
  std::uint64_t position_ = 0;
  bool broken_ = false;
};

}  // namespace tare
