// SPDX-License-Identifier: Apache-2.0
// What /metrics says. Values are put in when something happens; a scrape only copies them, so it disturbs no trial. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "agent/doctor.h"
#include "bench/result.h"
#include "bench/runner.h"

namespace tare::agent {

/// Gauges and counters by name and label values. Not thread-safe by itself.
class MetricTable {
 public:
  using Labels = std::vector<std::string>;  // values, in the order of the catalogue
  void set(std::string_view name, Labels labels, double value);
  void add(std::string_view name, Labels labels, double value);
  void clear(std::string_view name);
  /// Removes what `name` says with `first` as its first label.
  void clear(std::string_view name, const std::string& first);
  const std::map<std::string, std::map<Labels, double>, std::less<>>& families() const { return families_; }

 private:
  double& at(std::string_view name, Labels labels);
  std::map<std::string, std::map<Labels, double>, std::less<>> families_;
};

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void set_examination(const Examination& examination);
  void set_backends(const std::vector<bench::BackendInfo>& backends);

  void run_began(const std::string& id, const bench::Suite& suite, const std::vector<bench::PlannedTrial>& plan);
  void trial_finished(const bench::TrialRecord& trial);
  /// `state`: ok, failed or canceled.
  void run_ended(const bench::Suite& suite, const std::string& state);
  /// Replaces the results of the run before. `computed_at` is unix time.
  void set_result(const bench::Suite& suite, const bench::RunRecord& run, const bench::Result& result, double computed_at);

  void request_answered(const std::string& handler, int status, double seconds);
  void set_event_streams(int count);

  /// The exposition: text format 0.0.4.
  std::string text() const;

 private:
  class Histograms;
  MetricTable snapshot() const;
  mutable std::mutex mutex_;
  MetricTable table_;
  std::unique_ptr<Histograms> histograms_;
};

/// The start of one trial cut into disjoint phases that add up to `ready`: create, firmware, kernel, userspace (VM), exec, ready.
std::map<std::string, double> start_phases(const bench::TrialRecord& trial);

/// Pure: the gauges tare_result_* and tare_overhead_* of a result.
void put_result(MetricTable& table, const bench::RunRecord& run, const bench::Result& result, double computed_at);

}  // namespace tare::agent
