// SPDX-License-Identifier: Apache-2.0
// What a workload wrote to stdout and stderr, line by line, with the host's time of arrival.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"

namespace tare {

enum class Stream : std::uint8_t { out = 1, err = 2 };  // the numbers of Docker's log framing

struct LogLine {
  std::uint64_t number = 0;  // counts from 0 over both streams
  Instant at;                // arrival of the line's last byte
  Stream stream = Stream::out;
  std::string text;  // without the newline
};

/// Thread-safe. Keeps the newest lines up to a size, counts what it dropped; a line longer than 64 KiB is split.
class Log {
 public:
  explicit Log(Bytes capacity = 16_MiB) : capacity_(capacity) {}

  /// Bytes as they came from the stream; need not end at a line's end.
  void append(Stream stream, std::string_view bytes, Instant at);
  /// No more will come from either stream; unfinished lines become lines.
  void close();
  bool closed() const;

  /// Lines from `number` on that are still kept.
  std::vector<LogLine> lines(std::uint64_t number = 0) const;
  /// Lines that were dropped because the log was full.
  std::uint64_t dropped() const;
  /// All of one stream in one text, each line with its newline.
  std::string text(Stream stream) const;
  /// Waits for a line numbered `number` or higher, or the end of the log. False when the deadline passes first.
  bool wait_for_line(std::uint64_t number, Deadline deadline) const;
  /// Waits for close(). False when the deadline passes first.
  bool wait_closed(Deadline deadline) const;
  /// Called for each line under no lock, on the thread that appends; set it before the first append().
  void on_line(std::function<void(const LogLine&)> callback) { on_line_ = std::move(callback); }

 private:
  void push(Stream stream, std::string text, Instant at, std::vector<LogLine>& fresh);

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Bytes capacity_;
  std::uint64_t size_ = 0;
  std::uint64_t next_ = 0;
  std::deque<LogLine> lines_;
  std::string partial_out_;
  std::string partial_err_;
  bool closed_ = false;
  std::function<void(const LogLine&)> on_line_;
};

}  // namespace tare
