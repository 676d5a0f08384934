// SPDX-License-Identifier: Apache-2.0
#include "container/log_writer.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "container/launcher_system.h"

namespace tare::container {
namespace {

std::string file_name(const std::string& path, std::uint64_t position) { return path + "." + std::to_string(position); }

}  // namespace

LogWriter::LogWriter(std::string path, std::uint64_t max_size, std::uint32_t max_files)
    : path_(std::move(path)), max_size_(max_size), max_files_(max_files), file_(open_log(file_name(path_, 0))), files_{0} {}

void LogWriter::append(char* buffer, std::size_t count, std::uint32_t stream, std::int64_t at) {
  char* bytes = buffer + sizeof(LogFrame);
  bool& in_line = in_line_[stream - 1];
  const bool other_in_line = in_line_[2 - stream];
  // A file ends with a line, of both streams, unless that takes too long.
  if (is_full() && !other_in_line) {
    const void* newline = in_line ? std::memchr(bytes, '\n', count) : nullptr;
    const std::size_t rest = newline != nullptr ? static_cast<std::size_t>(static_cast<const char*>(newline) - bytes) + 1 : 0;
    if (rest > 0 && write(buffer, rest, stream, at)) {
      in_line = false;
      count -= rest;
      std::memmove(bytes, bytes + rest, count);
    }
    if (!in_line) begin_file();
  }
  if (is_full() && size_ - files_.back() >= 2 * max_size_) begin_file();
  if (count == 0) return;
  const bool ends_line = bytes[count - 1] == '\n';
  if (write(buffer, count, stream, at)) in_line = !ends_line;
}

bool LogWriter::write(char* buffer, std::size_t count, std::uint32_t stream, std::int64_t at) {
  const std::uint64_t written =
      lost_ > 0 && !tell_loss(at) ? 0 : append_frame(file_.get(), buffer, LogFrame{static_cast<std::uint32_t>(count), stream, at});
  size_ += written;
  if (written == 0) lost_ += count;
  return written > 0;
}

bool LogWriter::tell_loss(std::int64_t at) {
  char buffer[sizeof(LogFrame) + 128];
  const int count =
      std::snprintf(buffer + sizeof(LogFrame), sizeof buffer - sizeof(LogFrame),
                    "tare: %llu bytes of output are lost: the log could not be written\n", static_cast<unsigned long long>(lost_));
  const std::uint64_t written = append_frame(file_.get(), buffer, LogFrame{static_cast<std::uint32_t>(count), 3, at});
  size_ += written;
  if (written > 0) lost_ = 0;
  return written > 0;
}

// Where no file can be made the old one goes on.
void LogWriter::begin_file() {
  try {
    file_ = open_log(file_name(path_, size_));
  } catch (const LaunchFailure&) {
    return;
  }
  files_.push_back(size_);
  while (files_.size() > max_files_) {
    ::unlink(file_name(path_, files_.front()).c_str());
    files_.pop_front();
  }
}

}  // namespace tare::container
