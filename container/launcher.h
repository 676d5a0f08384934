// SPDX-License-Identifier: Apache-2.0
// The agent's end of tare-launcher: starts processes through it and hears of their output and end. Thread-safe; one reader thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "container/native_process.h"
#include "container/protocol.h"
#include "core/fd.h"
#include "core/paths.h"
#include "core/process.h"

namespace tare::container {

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
  /// start() up to the execve, where the process waits for go(). It ends with this object, and with the launcher.
  std::shared_ptr<NativeProcess> park(const Plan& plan, const PlanFds& fds, const std::string& who, Deadline deadline);
  /// Lets it execute; its mark `launched` is the moment in which it is told. False when it died while it waited. Throws as start() does.
  bool go(NativeProcess& process, const std::string& who, Deadline deadline);
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
  std::uint64_t next_request();
  std::shared_ptr<NativeProcess> begin(const Plan& plan, const PlanFds& fds, bool park, const std::string& who, Deadline deadline);
  Started started(const Reply& reply, const std::string& key, const std::string& who);

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
