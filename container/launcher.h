// SPDX-License-Identifier: Apache-2.0
// The agent's end of tare-launcher: starts processes through it and hears of their output and end. Thread-safe; one reader thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "container/log_tail.h"
#include "container/protocol.h"
#include "core/fd.h"
#include "core/log.h"
#include "core/paths.h"
#include "core/process.h"

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
  pid_t pid_ = -1;
  Instant launched_;
  Instant executed_;
  Log log_;
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

class Launcher {
 public:
  /// Starts a launcher of our own, which ends, with all it started, when this object (or the agent) does.
  static std::unique_ptr<Launcher> start_private(const Paths& paths);
  /// The launcher of this run directory: connects to it, or starts it. It outlives the agent.
  static std::unique_ptr<Launcher> connect(const Paths& paths);
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  pid_t pid() const { return pid_; }
  /// Starts a process and waits for its execve. When the launcher has ended, a new one is started first. Throws Error with `who` and the
  /// failing step, Error(timeout) at the deadline.
  std::shared_ptr<NativeProcess> start(const Plan& plan, const PlanFds& fds, const std::string& who, Deadline deadline);
  /// Throws Error(conflict) when it has ended already.
  void signal(const std::string& key, int number);
  /// The launcher drops the exit code of an ended process, and so do we.
  void forget(const std::string& key);
  /// Processes that an earlier agent left and nobody has forgotten yet.
  std::vector<std::shared_ptr<NativeProcess>> known();
  /// One of these; when the launcher knows no such process, one that is gone.
  std::shared_ptr<NativeProcess> find_or_gone(const std::string& key, const std::string& log_path);
  /// Ends the processes that an earlier agent left and that belong to none of `instances`.
  void end_unclaimed(const std::set<std::string>& instances);

 private:
  struct Reply {
    std::optional<Started> started;
    std::optional<Refused> refused;
    bool done = false;
  };
  /// A connection to a launcher, and the launcher itself when it is ours alone.
  struct Link {
    Fd socket;
    std::optional<Child> own;
  };
  Launcher(const Paths& paths, bool is_private);
  Link open_private() const;
  Link open_shared() const;
  void connect_anew();
  void connect_if_gone();
  Hello read_hello(int socket) const;
  void take(const Hello& hello);
  void listen();
  void dispatch(std::string_view message);
  void send(const std::string& message, const std::vector<int>& fds = {});
  void acknowledge_by_us(NativeProcess& process);
  Reply ask(std::uint64_t request, const std::string& message, const std::vector<int>& fds, Deadline deadline);
  std::shared_ptr<NativeProcess> find(const std::string& key);

  const Paths paths_;
  const bool is_private_;
  Fd socket_;
  std::atomic<pid_t> pid_ = -1;
  std::mutex send_mutex_;
  std::mutex connect_mutex_;
  std::mutex mutex_;
  std::condition_variable replied_;
  std::uint64_t next_request_ = 1;
  std::map<std::uint64_t, Reply> replies_;  // requests that somebody waits for
  std::map<std::string, std::shared_ptr<NativeProcess>> processes_;
  bool gone_ = false;
  std::string why_gone_;  // what a process that is not known is told to have met
  std::thread reader_;
  std::optional<Child> private_;
};

}  // namespace tare::container
