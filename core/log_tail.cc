// SPDX-License-Identifier: Apache-2.0
#include "core/log_tail.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "core/log_files.h"

namespace tare {
namespace {

constexpr std::uint32_t kLargestFrame = 64 * 1024;  // twice what a writer reads at once

}  // namespace

void LogTail::read_to(std::uint64_t size, Log& log) {
  while (read_one(size, log)) {
  }
}

/// The first position at or behind ours with which a file begins.
std::optional<std::uint64_t> LogTail::next_file() const {
  const auto all = log_files(path_);
  const auto next = std::lower_bound(all.begin(), all.end(), position_);
  return next == all.end() ? std::nullopt : std::optional(*next);
}

// False when there is none (yet).
bool LogTail::open_file(Log& log) {
  const auto next = next_file();
  if (!next) {
    if (position_ > 0) return false;
    broken_ = true;  // removed with the instance by an agent that found it without an owner
    log.append(Stream::err, "tare: the log file cannot be opened; what was in it is lost\n", Instant::now());
    return false;
  }
  Fd file(::open(log_file(path_, *next).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return false;
  if (*next > position_) {
    log.append(Stream::err, "tare: " + std::to_string(*next - position_) + " bytes of the log are no longer kept\n", Instant::now());
  }
  file_ = std::move(file);
  begin_ = position_ = *next;
  return true;
}

bool LogTail::read_one(std::uint64_t size, Log& log) {
  if (broken_ || position_ + sizeof(LogFrame) > size) return false;
  if (!file_ && !open_file(log)) return false;
  LogFrame frame;
  ssize_t got = ::pread(file_.get(), &frame, sizeof frame, static_cast<off_t>(position_ - begin_));
  if (got == 0 && position_ > begin_ && open_file(log)) {  // that file was full
    got = ::pread(file_.get(), &frame, sizeof frame, static_cast<off_t>(position_ - begin_));
  }
  if (got != sizeof frame) return false;
  if (frame.size > kLargestFrame || frame.stream < 1 || frame.stream > 3) {
    broken_ = true;
    log.append(Stream::err, "tare: the log file is damaged; what follows is lost\n", Instant::now());
    return false;
  }
  std::string bytes(frame.size, '\0');
  got = ::pread(file_.get(), bytes.data(), frame.size, static_cast<off_t>(position_ - begin_ + sizeof frame));
  if (got != static_cast<ssize_t>(frame.size)) return false;
  log.append(frame.stream == 1 ? Stream::out : Stream::err, bytes, Instant{frame.at});
  position_ += sizeof frame + frame.size;
  return true;
}

}  // namespace tare
