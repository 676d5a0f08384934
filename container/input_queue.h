// SPDX-License-Identifier: Apache-2.0
// What came for a process' stdin and is not written yet: the process may take its time, tare-launcher does not wait. Single-threaded.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/fd.h"

namespace tare::container {

class InputQueue {
 public:
  InputQueue() = default;  // closed: it drops what comes
  /// Into a pipe, or with `terminal` the master of a terminal; non-blocking.
  InputQueue(Fd fd, bool terminal) : fd_(std::move(fd)), terminal_(terminal) {}

  /// False, and nothing is taken, when more than kInputWindow bytes would wait. With `end` nothing follows.
  bool push(std::string_view bytes, bool end);
  /// Writes what the process takes now, and after the last byte the end: the pipe is closed, the terminal gets its end-of-file character.
  void write();
  /// True while write() should be called when fd() takes more.
  bool waits() const { return fd_ && (!pending_.empty() || ended_); }
  /// Nobody reads any more.
  void close();

  int fd() const { return fd_.get(); }
  /// False: what comes is dropped.
  bool open() const { return fd_ && !ended_; }
  /// Bytes that push() takes now.
  std::size_t room() const;
  std::uint64_t received() const { return received_; }
  std::uint64_t taken() const { return received_ - std::min<std::uint64_t>(received_, pending_.size()); }

 private:
  void finish();

  Fd fd_;
  bool terminal_ = false;
  std::string pending_;
  std::uint64_t received_ = 0;
  bool ended_ = false;    // push() said so
  bool in_line_ = false;  // the last byte was no newline
};

}  // namespace tare::container
