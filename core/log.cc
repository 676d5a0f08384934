// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tare {
namespace {

constexpr std::size_t kLongestLine = 64 * 1024;

std::uint64_t weight(const LogLine& line) { return line.text.size() + sizeof(LogLine); }

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
      if (whole || partial.size() == kLongestLine) push(stream, std::exchange(partial, {}), at, whole, fresh);
    }
    newest_ = at;
  }
  tell(fresh);
}

void Log::tell(const std::vector<LogLine>& fresh) {
  {
    const std::scoped_lock lock(watch_mutex_);
    for (const auto& [number, callback] : watchers_) callback();
  }
  if (fresh.empty()) return;
  changed_.notify_all();
  if (!on_line_) return;
  for (const LogLine& line : fresh) on_line_(line);
}

void Log::push(Stream stream, std::string text, Instant at, bool whole, std::vector<LogLine>& fresh) {
  LogLine line{next_++, at, stream, std::move(text), whole};
  fresh.push_back(line);
  size_ += weight(line);
  pushed_ += weight(line);
  lines_.push_back(std::move(line));
  while (size_ > capacity_.count && lines_.size() > 1) {
    if (consumed_ && pushed_ - size_ >= *consumed_) break;  // the follower has yet to read it
    size_ -= weight(lines_.front());
    lines_.pop_front();
  }
}

bool Log::follow() const {
  const std::scoped_lock lock(mutex_);
  if (consumed_) return false;
  consumed_ = pushed_ - size_;
  return true;
}

void Log::unfollow() const {
  {
    const std::scoped_lock lock(mutex_);
    consumed_.reset();
  }
  if (on_read_) on_read_();
}

std::optional<Bytes> Log::unread() const {
  const std::scoped_lock lock(mutex_);
  return consumed_ ? std::optional(Bytes{pushed_ - *consumed_}) : std::nullopt;
}

void Log::close() {
  std::vector<LogLine> fresh;
  {
    const std::scoped_lock lock(mutex_);
    if (closed_) return;
    if (!partial_out_.empty()) push(Stream::out, std::exchange(partial_out_, {}), newest_, false, fresh);
    if (!partial_err_.empty()) push(Stream::err, std::exchange(partial_err_, {}), newest_, false, fresh);
    closed_ = true;
  }
  changed_.notify_all();
  tell(fresh);
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

std::vector<LogPiece> Log::read(LogCursor& cursor) const {
  const std::uint64_t before = cursor.line;
  std::vector<LogPiece> pieces = read_pieces(cursor);
  if (cursor.follows && cursor.line != before && on_read_) on_read_();
  return pieces;
}

std::vector<LogPiece> Log::read_pieces(LogCursor& cursor) const {
  constexpr std::size_t kMost = 64 * 1024;
  const std::scoped_lock lock(mutex_);
  const std::uint64_t first = next_ - lines_.size();
  if (cursor.line < first) {
    cursor.lost += first - cursor.line;
    cursor.line = first;
    cursor.partial = {};
  }
  std::vector<LogPiece> out;
  std::size_t size = 0;
  for (; cursor.line < next_ && size < kMost; ++cursor.line) {
    const LogLine& line = lines_[cursor.line - first];
    std::size_t& read = cursor.partial[line.stream == Stream::out ? 0 : 1];
    out.push_back({line.stream, line.at, read == 0, line.text.substr(read) + (line.whole ? "\n" : "")});
    read = 0;
    size += out.back().bytes.size();
    if (cursor.follows && consumed_) *consumed_ += weight(line);
  }
  if (cursor.line != next_) return out;  // there is more, or a line that is yet to come is waited for
  for (const Stream stream : {Stream::out, Stream::err}) {
    const std::string& partial = stream == Stream::out ? partial_out_ : partial_err_;
    std::size_t& read = cursor.partial[stream == Stream::out ? 0 : 1];
    if (partial.size() > read) out.push_back({stream, newest_, read == 0, partial.substr(read)});
    read = partial.size();
  }
  return out;
}

std::uint64_t Log::next_number() const {
  const std::scoped_lock lock(mutex_);
  return next_;
}

std::uint64_t Log::number_since(Instant since) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::partition_point(lines_.begin(), lines_.end(), [&](const LogLine& line) { return line.at < since; });
  return next_ - static_cast<std::uint64_t>(lines_.end() - found);
}

std::uint64_t Log::watch(std::function<void()> callback) const {
  const std::scoped_lock lock(watch_mutex_);
  watchers_[next_watcher_] = std::move(callback);
  return next_watcher_++;
}

void Log::unwatch(std::uint64_t watcher) const {
  const std::scoped_lock lock(watch_mutex_);
  watchers_.erase(watcher);
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
