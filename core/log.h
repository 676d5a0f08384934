// SPDX-License-Identifier: Apache-2.0
// What a workload wrote to stdout and stderr, line by line, with the host's time of arrival.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
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
  std::string text;   // without the newline
  bool whole = true;  // false: the stream ended, or 64 KiB were full, before a newline came
};

/// A piece of one stream, byte for byte as the workload wrote it.
struct LogPiece {
  Stream stream = Stream::out;
  Instant at;           // arrival
  bool begins = false;  // at the begin of a line
  std::string bytes;
};

/// How far a reader of pieces has come. A new one begins with the oldest line that is kept.
struct LogCursor {
  std::uint64_t line = 0;                // the first line that was not read whole
  std::array<std::size_t, 2> partial{};  // bytes that were read of the unfinished line of out and err
  std::uint64_t lost = 0;                // lines that were dropped before they were read
  bool follows = false;                  // it is the reader of Log::follow()
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
  /// What came since `cursor`, unfinished lines too, about 64 KiB at most; moves the cursor. Empty when there is nothing new.
  std::vector<LogPiece> read(LogCursor& cursor) const;
  /// The number of the line that comes next; of the first that arrived at `since` or later.
  std::uint64_t next_number() const;
  std::uint64_t number_since(Instant since) const;
  /// All of one stream in one text, each line with its newline.
  std::string text(Stream stream) const;
  /// Waits for a line numbered `number` or higher, or the end of the log. False when the deadline passes first.
  bool wait_for_line(std::uint64_t number, Deadline deadline) const;
  /// From now on no line is dropped that the reader with the cursor `follows` has not read; who appends should wait while unread() is
  /// large. False when there is such a reader already.
  bool follow() const;
  /// That reader is gone: nothing waits any more.
  void unfollow() const;
  /// What the follower has not read yet, as the capacity counts; nothing without one.
  std::optional<Bytes> unread() const;
  /// Called, under no lock, when the follower has read something or is gone: set it before there is one.
  void on_read(std::function<void()> callback) { on_read_ = std::move(callback); }
  /// `callback` is called, from the thread that appends or closes, when there is more to read; it only wakes somebody. unwatch() returns
  /// when none runs any more.
  std::uint64_t watch(std::function<void()> callback) const;
  void unwatch(std::uint64_t watcher) const;
  /// Waits for close(). False when the deadline passes first.
  bool wait_closed(Deadline deadline) const;
  /// Called for each line under no lock, on the thread that appends; set it before the first append().
  void on_line(std::function<void(const LogLine&)> callback) { on_line_ = std::move(callback); }

 private:
  void push(Stream stream, std::string text, Instant at, bool whole, std::vector<LogLine>& fresh);
  std::vector<LogPiece> read_pieces(LogCursor& cursor) const;
  void tell(const std::vector<LogLine>& fresh);

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Bytes capacity_;
  std::uint64_t size_ = 0;
  std::uint64_t pushed_ = 0;                       // of all lines so far, as size_ counts
  mutable std::optional<std::uint64_t> consumed_;  // how much of that the follower has read
  std::uint64_t next_ = 0;
  std::deque<LogLine> lines_;
  std::string partial_out_;
  std::string partial_err_;
  Instant newest_;  // arrival of the newest bytes
  bool closed_ = false;
  std::function<void(const LogLine&)> on_line_;
  std::function<void()> on_read_;
  mutable std::mutex watch_mutex_;
  mutable std::map<std::uint64_t, std::function<void()>> watchers_;
  mutable std::uint64_t next_watcher_ = 1;
};

/// A log from its oldest line on, piece by piece, where more of it is kept than a Log holds. One thread; no call waits.
class LogReader {
 public:
  virtual ~LogReader() = default;
  /// Up to about 64 KiB; nothing at the end of what there is now.
  virtual std::vector<LogPiece> read() = 0;
};

}  // namespace tare
