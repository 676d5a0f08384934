// SPDX-License-Identifier: Apache-2.0
// Executes a suite: randomised complete blocks over the backends, every trial saved before the next begins.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "bench/sample.h"
#include "bench/suite.h"
#include "core/backend.h"

namespace tare::bench {

/// One place in the order of execution.
struct PlannedTrial {
  int number = 0;              // from 1
  int block = 0;               // 0: warm-up
  std::size_t experiment = 0;  // index in Suite::experiments
  std::string backend;         // the lane, as in Suite::backends
  bool empty = false;          // the empty counterpart instead of the workload
};
/// The whole order for a seed: within each block the backends (and the counterpart) are shuffled. Pure: the same seed gives the same order.
std::vector<PlannedTrial> plan(const Suite& suite, const std::vector<std::string>& backends, std::uint64_t seed);

struct TrialRecord {
  PlannedTrial planned;
  std::string experiment;
  std::string workload;
  std::string variant;
  std::string state;     // as Sample::state
  std::string sentence;  // why it failed or is suspect; empty when ok
  std::string hint;
  std::vector<Sample> samples;
  double seconds = 0;      // wall time of the trial
  std::string raw_output;  // what the workload printed, where the metric was parsed from it
};

/// What a run tells while it goes. Called on the runner's thread, never inside a timed window.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void trial_started(const PlannedTrial&, int total) = 0;
  /// The record must be durable when this returns.
  virtual void trial_finished(const TrialRecord&, int total) = 0;
  virtual void warning(const std::string& sentence) = 0;
  /// One-off work of a backend for a workload begins (Backend::prepare), before the first trial.
  virtual void preparing(const std::string& /*backend*/, const std::string& /*workload*/) {}
};

struct BackendInfo {
  std::string name;  // of the lane
  Probe probe;
  std::map<std::string, std::string> protections;   // of its instances
  std::map<std::string, std::string> missing = {};  // metric that a trial could not measure → why; others may have
};

enum class Outcome { ok, failed, canceled };  // failed: at least one measured trial failed, or no backend was able

struct AgentCost {
  double cpu_seconds = 0;   // of the agent and the launcher during the run
  double memory_bytes = 0;  // resident, agent and launcher, at the end
  double wall_seconds = 0;
};

struct RunRecord {
  std::string id;
  std::uint64_t seed = 0;
  Outcome outcome = Outcome::ok;
  std::string started_at;  // UTC, RFC 3339
  double wall_seconds = 0;
  std::vector<BackendInfo> backends;  // unable ones too, with the reason
  std::vector<TrialRecord> trials;    // in order of execution
  std::vector<std::string> warnings;
  AgentCost agent_cost;
};

struct RunOptions {
  std::string id;
  std::uint64_t seed = 0;
  std::function<AgentCost()> agent_cost;  // cumulative reading; the runner takes the difference
  std::filesystem::path root = "/";       // whose /proc the noise detectors read
};

/// Runs to the end, or until `stop` is requested: then the current trial is stopped, cleaned up and not counted. A trial that fails is a
/// record; the run goes on. Throws only what the observer throws.
RunRecord run(const Suite& suite, const std::vector<Backend*>& backends, const RunOptions& options, Observer& observer,
              const std::stop_token& stop);

}  // namespace tare::bench
