// SPDX-License-Identifier: Apache-2.0
// Writes the log of one process into files (log_files.h) that are begun anew when one is full. Single-threaded.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "core/fd.h"

namespace tare {

class LogWriter {
 public:
  /// No file is begun anew with a `max_size` of 0; of the files `max_files` stay. Goes on with the files of an earlier writer, of which the
  /// first `size` bytes count and the rest is cut off. Throws std::system_error when its file cannot be made or opened.
  LogWriter(std::string path, std::uint64_t max_size, std::uint32_t max_files, std::uint64_t size = 0);
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  /// Appends `count` bytes of output, which stand in `buffer` behind room for a LogFrame; the room is used, the bytes may be moved. What
  /// cannot be written (the disk is full) is counted, and told in the log as soon as something can be written again.
  void append(char* buffer, std::size_t count, std::uint32_t stream, std::int64_t at);
  /// Position of the end: all that was written.
  std::uint64_t size() const { return size_; }
  /// Bytes that are lost, without what the log itself tells of.
  std::uint64_t lost() const { return lost_; }

 private:
  bool write(char* buffer, std::size_t count, std::uint32_t stream, std::int64_t at);
  bool tell_loss(std::int64_t at);
  bool is_full() const { return max_size_ > 0 && size_ - files_.back() >= max_size_; }
  void begin_file();
  void find_files();

  const std::string path_;
  const std::uint64_t max_size_;
  const std::uint32_t max_files_;
  Fd file_;
  std::deque<std::uint64_t> files_;  // positions of the first bytes of those that are there
  std::uint64_t size_ = 0;
  std::uint64_t lost_ = 0;
  bool in_line_[2] = {false, false};  // out, err: its last byte was no newline
};

}  // namespace tare
