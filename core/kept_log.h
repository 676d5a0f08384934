// SPDX-License-Identifier: Apache-2.0
// Reads a process' log from its files, from the oldest that is kept. One thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/log.h"
#include "core/log_tail.h"

namespace tare {

class KeptLog final : public LogReader {
 public:
  struct End {
    std::uint64_t size = 0;  // all whole frames up to here may be read
    bool closed = false;     // nothing will follow
  };
  /// `path` as LogTail has it; `end` is asked for before each reading. With `lines` it begins with the last so many whole ones, for which
  /// everything is read once.
  KeptLog(const std::string& path, std::function<End()> end, std::optional<std::uint64_t> lines);
  std::vector<LogPiece> read() override;

 private:
  const std::function<End()> end_;
  LogTail tail_;
  Log log_;
  LogCursor cursor_;
};

}  // namespace tare
