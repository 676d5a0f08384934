// SPDX-License-Identifier: Apache-2.0
// One instance that a client started, with what the agent knows of it beside what its backend knows. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/backend.h"

namespace tare::agent {

/// What a client asks for.
struct StartInstance {
  std::string backend = "container";
  std::string name;  // empty: the instance's id
  Workload workload;
  bool attached = false;  // ends with its client, and is removed when it has ended
  std::string text;       // the request as it came
};

/// How an instance ended.
struct Ending {
  std::optional<Exit> exit;  // absent when nobody can tell
  std::string sentence;      // why, where the exit code alone does not say it; else empty
  double at = 0;             // unix time
};

class LiveInstance {
 public:
  explicit LiveInstance(StartInstance start);
  /// One of a dead agent: `ending` is what that agent knew of its end.
  LiveInstance(StartInstance start, double created_at, std::optional<Ending> ending);

  const std::string& id() const { return instance_->id(); }
  const std::string& name() const { return name_; }
  const std::string& backend() const { return start_.backend; }
  const Workload& workload() const { return start_.workload; }
  const StartInstance& request() const { return start_; }
  bool attached() const { return attached_; }
  /// True for one that a person at a terminal may leave: what an instance needs to outlive its agent is kept from the start.
  bool may_be_left() const { return start_.attached && start_.workload.tty && start_.workload.open_stdin; }
  /// From now on it does not end with its client.
  void detach() { attached_ = false; }
  double created_at() const { return created_at_; }  // unix time
  Timeline& timeline() { return timeline_; }
  const Timeline& timeline() const { return timeline_; }
  Instance& instance() const { return *instance_; }
  State state() const { return instance_->state(); }
  std::optional<Ending> ending() const;
  /// True when nothing of it is left on the host, or it was tried in vain; the object itself stays as long as somebody holds it.
  bool removed() const { return state() == State::removed || leftover_; }

  /// The instance, once it has started; before anybody else can see this.
  void hold(std::unique_ptr<Instance> instance);
  /// Waits for the instance's end, which its timeline has told, and keeps it.
  void note_end();
  /// Removes it from the host. Throws Error naming what stayed.
  void remove();

  /// Does `work` unless it is removed, and keeps it from being removed meanwhile.
  void while_present(const std::function<void()>& work);

  /// `callback` is called when it has ended or is removed, from the thread on which that happens; it only wakes somebody. unwatch()
  /// returns when none runs any more.
  std::uint64_t watch(std::function<void()> callback);
  void unwatch(std::uint64_t watcher);

 private:
  void tell();

  const StartInstance start_;
  std::atomic<bool> attached_;
  std::string name_;
  const double created_at_;
  Timeline timeline_;  // before the instance, which marks it until it is gone
  std::unique_ptr<Instance> instance_;
  std::mutex removal_mutex_;
  mutable std::mutex mutex_;
  std::optional<Ending> ending_;
  std::atomic<bool> leftover_ = false;
  std::mutex watch_mutex_;
  std::map<std::uint64_t, std::function<void()>> watchers_;
  std::uint64_t next_watcher_ = 1;
};

/// "was killed for memory: limit 16 MiB", "was killed by SIGTERM", or nothing for an end that its code tells.
std::string sentence_of(const Exit& exit, const Workload& workload);

}  // namespace tare::agent
