// SPDX-License-Identifier: Apache-2.0
// Reads the framed log file that tare-launcher appends to, from where the last reading ended, into a Log. One thread at a time.
#pragma once

#include <string>

#include "core/fd.h"
#include "core/log.h"

namespace tare::container {

class LogTail {
 public:
  explicit LogTail(std::string path) : path_(std::move(path)) {}
  /// Appends all whole frames up to byte `size` of the file. Stops for good at a head that no launcher writes.
  void read_to(std::uint64_t size, Log& log);
  std::uint64_t position() const { return position_; }

 private:
  std::string path_;
  Fd file_;
  std::uint64_t position_ = 0;
  bool broken_ = false;
};

}  // namespace tare::container
