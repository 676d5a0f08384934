// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tare {
namespace {

constexpr std::size_t kLongestLine = 64 * 1024;

// condition_variable::wait_until on the steady clock, which is CLOCK_MONOTONIC in libstdc++, as Instant is.
std::chrono::steady_clock::time_point steady(Deadline deadline) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline.at().nanoseconds));
}

}  // namespace

void Log::append(Stream stream, std::string_view bytes, Instant at) {
  std::vector<LogLine> fresh;
  {
    const std::scoped_lock lock(mutex_);
    std::string& partial = stream == Stream::out ? partial_out_ : partial_err_;
    while (!bytes.empty()) {
      const std::size_t room = kLongestLine - partial.size();
      const std::size_t newline = bytes.substr(0, room).find('\n');
      const bool whole = newline != std::string_view::npos;
      const std::size_t taken = whole ? newline : std::min(bytes.size(), room);
      partial.append(bytes.substr(0, taken));
      bytes.remove_prefix(taken + (whole ? 1 : 0));
      if (whole || partial.size() == kLongestLine) push(stream, std::exchange(partial, {}), at, fresh);
    }
  }
  if (fresh.empty()) return;
  changed_.notify_all();
  if (!on_line_) return;
  for (const LogLine& line : fresh) on_line_(line);
}

void Log::push(Stream stream, std::string text, Instant at, std::vector<LogLine>& fresh) {
  LogLine line{next_++, at, stream, std::move(text)};
  fresh.push_back(line);
  size_ += line.text.size() + sizeof(LogLine);
  lines_.push_back(std::move(line));
  while (size_ > capacity_.count && lines_.size() > 1) {
    size_ -= lines_.front().text.size() + sizeof(LogLine);
    lines_.pop_front();
  }
}

void Log::close() {
  std::vector<LogLine> fresh;
  {
    const std::scoped_lock lock(mutex_);
    if (closed_) return;
    if (!partial_out_.empty()) push(Stream::out, std::exchange(partial_out_, {}), Instant::now(), fresh);
    if (!partial_err_.empty()) push(Stream::err, std::exchange(partial_err_, {}), Instant::now(), fresh);
    closed_ = true;
  }
  changed_.notify_all();
  if (!on_line_) return;
  for (const LogLine& line : fresh) on_line_(line);
}

bool Log::closed() const {
  const std::scoped_lock lock(mutex_);
  return closed_;
}

std::vector<LogLine> Log::lines(std::uint64_t number) const {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t first = next_ - lines_.size();
  const std::uint64_t skip = number > first ? std::min<std::uint64_t>(number - first, lines_.size()) : 0;
  return {lines_.begin() + static_cast<std::ptrdiff_t>(skip), lines_.end()};
}

std::uint64_t Log::dropped() const {
  const std::scoped_lock lock(mutex_);
  return next_ - lines_.size();
}

std::string Log::text(Stream stream) const {
  const std::scoped_lock lock(mutex_);
  std::string text;
  for (const LogLine& line : lines_) {
    if (line.stream == stream) text.append(line.text).append(1, '\n');
  }
  return text;
}

bool Log::wait_for_line(std::uint64_t number, Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, steady(deadline), [&] { return next_ > number || closed_; });
}

bool Log::wait_closed(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, steady(deadline), [&] { return closed_; });
}

}  // namespace tare
