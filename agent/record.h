// SPDX-License-Identifier: Apache-2.0
// What a run writes down while it goes: every trial into the store before the next begins, the result so far from time to time, and
// events for who watches. Used on the run's thread alone.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "agent/events.h"
#include "agent/metrics.h"
#include "agent/store.h"
#include "bench/result.h"

namespace tare::agent {

class Recorder : public bench::Observer {
 public:
  Recorder(const std::string& id, const bench::Suite& suite, std::uint64_t seed, Store& store, EventHub& hub, Metrics& metrics);

  /// Probes the backends, which may take long the first time, and tells the order's length.
  void probe(const std::vector<Backend*>& backends);
  void trial_started(const bench::PlannedTrial& trial, int total) override;
  void trial_finished(const bench::TrialRecord& trial, int total) override;
  void warning(const std::string& sentence) override;
  void preparing(const std::string& backend, const std::string& workload) override;
  /// The whole record, as the runner returned it.
  void finish(const bench::RunRecord& record);
  /// The last event. Never throws: a full disk must not hide how the run ended.
  void end(const std::string& state, const std::string& sentence) noexcept;

 private:
  void compute_result();

  const bench::Suite& suite_;
  Store& store_;
  EventHub& hub_;
  Metrics& metrics_;
  bench::HostContext host_;
  bench::RunRecord record_;  // as far as it is known
  std::chrono::steady_clock::time_point began_;
  std::chrono::steady_clock::time_point computed_;
  std::chrono::steady_clock::duration cost_{};  // of the last computation
};

/// The JSON of the event `trial`, without the samples.
std::string trial_json(const bench::TrialRecord& trial, int total);

}  // namespace tare::agent
