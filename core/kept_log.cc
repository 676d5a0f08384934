// SPDX-License-Identifier: Apache-2.0
#include "core/kept_log.h"

#include <algorithm>

namespace tare {

constexpr Bytes kHeld = 8_MiB;  // more than one frame makes of lines

KeptLog::KeptLog(const std::string& path, std::function<End()> end, std::optional<std::uint64_t> lines)
    : end_(std::move(end)), tail_(path), log_(kHeld) {
  if (!lines) return;
  Log counted(kHeld);
  const std::uint64_t size = end_().size;
  LogTail(path).read_to(size, counted);
  const std::uint64_t all = counted.next_number();
  cursor_.line = all - std::min(all, *lines);
  while (log_.next_number() < cursor_.line && tail_.read_one(size, log_)) continue;
}

std::vector<LogPiece> KeptLog::read() {
  for (;;) {
    if (auto pieces = log_.read(cursor_); !pieces.empty()) return pieces;
    const End end = end_();
    if (tail_.read_one(end.size, log_)) continue;
    if (!end.closed || log_.closed()) return {};
    log_.close();
  }
}

}  // namespace tare
