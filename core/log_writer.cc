// SPDX-License-Identifier: Apache-2.0
#include "core/log_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/log_files.h"

namespace tare {
namespace {

[[noreturn]] void fail(const std::string& file) { throw std::system_error(errno, std::generic_category(), file); }

Fd open_log(const std::string& file) {
  Fd log(::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!log) fail(file);
  return log;
}

// Head and content, which follows the head's room in `buffer`; bytes written: 0 when the disk is full.
std::uint64_t append_frame(int log, char* buffer, const LogFrame& frame) {
  std::memcpy(buffer, &frame, sizeof frame);
  const std::size_t size = sizeof frame + frame.size;
  const off_t before = ::lseek(log, 0, SEEK_END);
  const ssize_t written = ::write(log, buffer, size);
  if (written == static_cast<ssize_t>(size)) return size;
  // Half a frame would make the rest unreadable.
  if (written > 0 && ::ftruncate(log, before) != 0) std::abort();
  return 0;
}

}  // namespace

LogWriter::LogWriter(std::string path, std::uint64_t max_size, std::uint32_t max_files, std::uint64_t size)
    : path_(std::move(path)), max_size_(max_size), max_files_(max_files), size_(size) {
  if (size > 0) find_files();
  if (files_.empty()) files_.push_back(size);
  const std::string file = log_file(path_, files_.back());
  file_ = open_log(file);
  if (size > 0 && ::ftruncate(file_.get(), static_cast<off_t>(size - files_.back())) != 0) fail(file);
}

// What begins behind the end was begun by a writer that died before it could tell of it.
void LogWriter::find_files() {
  for (const std::uint64_t begin : log_files(path_)) {
    if (begin <= size_) {
      files_.push_back(begin);
    } else {
      ::unlink(log_file(path_, begin).c_str());
    }
  }
}

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
    file_ = open_log(log_file(path_, size_));
  } catch (const std::system_error&) {
    return;
  }
  files_.push_back(size_);
  while (files_.size() > max_files_) {
    ::unlink(log_file(path_, files_.front()).c_str());
    files_.pop_front();
  }
}

}  // namespace tare
