// SPDX-License-Identifier: Apache-2.0
// The runs of this agent: at most one at a time, on a thread of its own, because two at once would measure each other. Thread-safe.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/backends.h"
#include "agent/events.h"
#include "agent/metrics.h"
#include "agent/store.h"
#include "bench/suite.h"
#include "core/files.h"

namespace tare::agent {

struct StartRun {
  std::string suite_yaml;
  std::string file_name = "suite.yaml";  // for messages
  std::optional<std::uint64_t> seed;     // absent: the suite's, else drawn
  std::vector<std::string> backends;     // empty: the suite's
};

class Runs {
 public:
  Runs(const Paths& paths, const BackendSet& backends, Store& store, EventHub& hub, Metrics& metrics);
  /// Cancels what runs and waits until it is cleaned up.
  ~Runs();
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  /// Begins a run and returns its id. Throws Error(invalid) for a bad suite, Error(conflict) naming the run that is active on this host.
  std::string start(const StartRun& request);
  /// Asks the active run to stop; it ends when its trial is cleaned up. Throws Error(not_found), or Error(conflict) when it has ended.
  void cancel(const std::string& id);
  std::optional<std::string> active() const;
  /// From now on a run begins only when `calm` is ready: what else the agent computes would be measured with it. Set before the first run.
  void hold_until(std::shared_future<void> calm) { calm_ = std::move(calm); }
  /// Probes every backend and reads the host; the answer is kept, and read anew when `fresh`.
  Examination examination(bool fresh);

 private:
  void execute(const std::string& id, const bench::Suite& suite, std::uint64_t seed, FileLock lock, const std::stop_token& stop);
  std::vector<Backend*> chosen(const bench::Suite& suite) const;

  const Paths paths_;
  const BackendSet& backends_;
  Store& store_;
  EventHub& hub_;
  Metrics& metrics_;
  std::shared_future<void> calm_;

  mutable std::mutex mutex_;
  std::optional<std::string> active_;
  std::jthread thread_;

  std::mutex examining_;
  std::optional<Examination> examination_;
};

}  // namespace tare::agent
