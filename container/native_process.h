// SPDX-License-Identifier: Apache-2.0
// One process of tare-launcher as the agent sees it: its output and its end.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "container/native_input.h"
#include "container/protocol.h"
#include "core/kept_log.h"
#include "core/log.h"
#include "core/log_tail.h"
#include "core/process.h"
#include "core/units.h"

namespace tare::container {

/// How a native process ended.
struct End {
  Exit exit;
  Instant at;
  bool known = true;                     // false: the launcher ended first, and nobody can tell `exit`
  std::uint64_t switches_voluntary = 0;  // of it and of its reaped children
  std::uint64_t switches_involuntary = 0;
};

/// One process of the launcher as the agent sees it. Shared by its owner and the launcher's reader thread; thread-safe.
class NativeProcess {
 public:
  NativeProcess(std::string key, const std::string& log_path);
  /// One that no launcher knows any more, with all that is in its log.
  static std::shared_ptr<NativeProcess> gone(std::string key, const std::string& log_path, const std::string& why);
  const std::string& key() const { return key_; }
  pid_t pid() const { return pid_; }
  Instant launched() const { return launched_; }
  Instant executed() const { return executed_; }
  Log& log() { return log_; }
  const Log& log() const { return log_; }
  /// From the files: also what log() has dropped.
  std::unique_ptr<LogReader> kept_log(std::optional<std::uint64_t> lines);
  NativeInput& input() { return input_; }
  /// Nothing when the deadline passes first. Throws Error(unavailable) when the launcher is gone and nobody can tell any more.
  std::optional<End> wait(Deadline deadline);
  /// Its end, if it is known now.
  std::optional<End> ending();
  /// Called once, on the reader thread, when it ends; at once when it has ended. An empty one ends the calls: none runs after it returns.
  void on_end(std::function<void(const End&)> callback);
  /// Nothing more will come, and the log's files are about to go: the rest is read at once, whoever follows.
  void finish_log();

 private:
  friend class Launcher;
  void grew(std::uint64_t size, bool closed);
  /// Reads what is there into the log, but does not outrun who follows it. Under tail_mutex_.
  void pump();
  void ended(const Ended& message);
  void tell_loss(const Ended& message);
  void lost(const std::string& why);

  std::string key_;
  std::string log_path_;
  pid_t pid_ = -1;
  Instant launched_;
  Instant executed_;
  Log log_;
  NativeInput input_;
  std::mutex tail_mutex_;
  LogTail tail_;
  std::uint64_t told_ = 0;  // how far the log has grown
  bool told_closed_ = false;
  bool in_haste_ = false;                      // the files are about to go: read on, whoever follows
  std::optional<std::uint64_t> acknowledged_;  // how far the launcher knows that a follower has read
  std::function<void(std::uint64_t)> acknowledge_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<End> end_;
  std::optional<std::string> lost_;  // why nobody can tell its end
  std::function<void(const End&)> on_end_;
};

}  // namespace tare::container
