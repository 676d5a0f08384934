// SPDX-License-Identifier: Apache-2.0
// The instances that clients started: by id and by name, from their start until nothing of them is left. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "agent/backends.h"
#include "agent/live_instance.h"

namespace tare::agent {

class Instances {
 public:
  /// With `keep`, what is started detached outlives this agent, and the next one with the same run directory adopts it.
  Instances(const Paths& paths, const BackendSet& backends, bool keep);
  /// Removes what is there, but for what is kept.
  ~Instances();
  Instances(const Instances&) = delete;
  Instances& operator=(const Instances&) = delete;

  /// Starts one and returns when its program is executed. Throws Error(conflict) for a name that is taken, Error(invalid) for a backend
  /// that is none, and what Backend::start throws.
  std::shared_ptr<LiveInstance> start(StartInstance request);
  /// Takes over what dead agents of this run directory kept, and ends what else they left at the launcher. Before anything is started.
  void adopt();
  /// By id, name, or the begin of an id that fits one alone. Throws Error(not_found).
  std::shared_ptr<LiveInstance> find(const std::string& reference) const;
  /// The newest first.
  std::vector<std::shared_ptr<LiveInstance>> list() const;
  /// Removes one. Throws Error(conflict) for one that runs, unless `force`.
  void remove(const std::string& reference, bool force);
  /// An attached one whose client leaves it running: from now on it is as if it had been started detached.
  void detach(LiveInstance& live);
  /// Does a piece of work that may wait, on a thread of ours. What it throws goes into the log.
  void later(std::function<void()> work);
  /// The same for work that may take as long as a workload: on a thread of its own.
  void aside(std::function<void()> work);

 private:
  class Workers;
  Backend& backend_named(const std::string& name) const;
  void take_name(const std::string& name);
  void ended(const std::weak_ptr<LiveInstance>& weak);
  void drop(LiveInstance& instance);
  std::unique_ptr<Instance> make(Backend& backend, LiveInstance& live);
  std::shared_ptr<LiveInstance> adopt_one(const std::string& id);
  void insert(const std::shared_ptr<LiveInstance>& live);
  void follow_marks(const std::shared_ptr<LiveInstance>& live);
  bool is_kept(const LiveInstance& live) const { return keep_ && !live.attached(); }

  const Paths paths_;
  const BackendSet& backends_;
  const bool keep_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<LiveInstance>> by_id_;
  std::set<std::string> names_;  // also of those that are starting
  std::unique_ptr<Workers> workers_;
};

/// Throws Error(invalid) unless it is one that Docker takes: [a-zA-Z0-9][a-zA-Z0-9_.-]+.
void check_instance_name(const std::string& name);

}  // namespace tare::agent
