// SPDX-License-Identifier: Apache-2.0
#include "container/native_process.h"

#include <sys/wait.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"

namespace tare::container {

std::optional<End> NativeProcess::wait(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto over = [&] { return end_ || lost_; };
  if (deadline.at() == Deadline::never().at()) {
    changed_.wait(lock, over);
  } else if (!changed_.wait_for(lock, deadline.left(), over)) {
    return std::nullopt;
  }
  if (!end_) throw Error(Code::unavailable, *lost_, "see `dmesg` for why");
  return end_;
}

std::optional<End> NativeProcess::ending() {
  const std::lock_guard lock(mutex_);
  return end_;
}

void NativeProcess::on_end(std::function<void(const End&)> callback) {
  const std::lock_guard lock(mutex_);
  if (end_ && callback) return callback(*end_);
  if (lost_ && callback) return callback(End{{}, Instant::now(), false});
  on_end_ = std::move(callback);
}

NativeProcess::NativeProcess(std::string key, const std::string& log_path)
    : key_(std::move(key)), log_path_(log_path), input_(key_), tail_(log_path) {
  log_.on_read([this] {
    const std::lock_guard lock(tail_mutex_);
    pump();
  });
}

std::unique_ptr<LogReader> NativeProcess::kept_log(std::optional<std::uint64_t> lines) {
  const auto end = [this] {
    const std::lock_guard lock(tail_mutex_);
    return KeptLog::End{told_, told_closed_};
  };
  return std::make_unique<KeptLog>(log_path_, end, lines);
}

void NativeProcess::grew(std::uint64_t size, bool closed) {
  const std::lock_guard lock(tail_mutex_);
  told_ = std::max(told_, size);
  told_closed_ = told_closed_ || closed;
  pump();
}

void NativeProcess::pump() {
  constexpr Bytes kMostUnread = 4_MiB;
  constexpr std::uint64_t kStep = kLogWindow / 4;
  bool all_read = false;
  std::optional<Bytes> unread;
  while ((unread = log_.unread()).value_or(0_MiB) < kMostUnread || in_haste_) {
    if (all_read = !tail_.read_one(told_, log_); all_read) break;
  }
  if (all_read && told_closed_) log_.close();
  if (!unread && acknowledged_) {  // whoever followed is gone
    acknowledged_.reset();
    acknowledge_(kNobodyReads);
  }
  if (!unread || !acknowledge_ || tail_.position() - acknowledged_.value_or(0) < (acknowledged_ ? kStep : 0)) return;
  acknowledged_ = tail_.position();
  acknowledge_(*acknowledged_);
}

void NativeProcess::finish_log() {
  const std::lock_guard lock(tail_mutex_);
  told_closed_ = in_haste_ = true;
  pump();
}

// At the end, where the launcher could not write it either.
void NativeProcess::tell_loss(const Ended& message) {
  grew(message.log_size, false);
  log_.append(Stream::err, "tare: " + std::to_string(message.log_lost) + " bytes of output are lost: the log could not be written\n",
              Instant{message.at});
}

void NativeProcess::ended(const Ended& message) {
  if (message.log_lost > 0) tell_loss(message);
  grew(message.log_size, !message.log_open);
  input_.end();
  const std::lock_guard lock(mutex_);
  if (end_) return;
  const bool signaled = WIFSIGNALED(message.wait_status);
  end_ = End{{signaled ? WTERMSIG(message.wait_status) : WEXITSTATUS(message.wait_status), signaled, false},
             Instant{message.at},
             true,
             message.switches_voluntary,
             message.switches_involuntary};
  if (on_end_) on_end_(*end_);
  changed_.notify_all();
}

void NativeProcess::lost(const std::string& why) {
  grew(0, true);
  input_.end();
  const std::lock_guard lock(mutex_);
  if (end_ || lost_) return;
  lost_ = why;
  if (on_end_) on_end_(End{{}, Instant::now(), false});
  changed_.notify_all();
}

std::shared_ptr<NativeProcess> NativeProcess::gone(std::string key, const std::string& log_path, const std::string& why) {
  auto process = std::make_shared<NativeProcess>(std::move(key), log_path);
  if (std::filesystem::exists(std::filesystem::path(log_path).parent_path())) process->grew(UINT64_MAX, true);
  process->lost(why);
  return process;
}

}  // namespace tare::container
