// SPDX-License-Identifier: Apache-2.0
// From a result to gauges: exact statistics, which a histogram's buckets would blur.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "agent/metrics.h"
#include "bench/statistics.h"

namespace tare::agent {
namespace {

std::optional<double> mark_of(const bench::TrialRecord& trial, const std::string& mark) {
  for (const bench::Sample& sample : trial.samples) {
    if (sample.metric == "mark." + mark) return sample.value;
  }
  return std::nullopt;
}

// What a comparison is called in the label `measure`; nothing when it is no measure of overhead.
std::string measure_of(const bench::Comparison& comparison) {
  if (comparison.kind != "gross") return {};
  if (comparison.metric == "mark.ready") return "start";
  if (comparison.metric == "usage.cpu") return "cpu";
  if (comparison.metric == "usage.memory_peak") return "memory";
  if (comparison.metric.starts_with("probe.")) return comparison.metric;
  return {};
}

bool is_counted(const bench::TrialRecord& trial) {
  return trial.planned.block > 0 && !trial.state.starts_with("failed") && !trial.state.starts_with("invalid");
}

std::string variant_of(const bench::RunRecord& run, const std::string& backend, const std::string& experiment) {
  for (const bench::TrialRecord& trial : run.trials) {
    if (trial.experiment == experiment && trial.planned.backend == backend && !trial.planned.empty) return trial.variant;
  }
  return "cold";
}

void put_start(MetricTable& table, const bench::RunRecord& run, const std::string& backend, const bench::ExperimentResult& experiment,
               const bench::Summary& s) {
  const std::string variant = variant_of(run, backend, experiment.name);
  const auto put = [&](const char* stat, const std::optional<double>& value) {
    if (value) table.set("tare_result_start_seconds", {backend, experiment.workload, variant, stat}, *value);
  };
  put("p50", s.median);
  put("p95", s.p95);
  put("min", s.min);
  put("max", s.max);
  // Of little use with a few trials, and so in no report; dashboards over many runs ask for them.
  std::vector<double> starts;
  for (const bench::TrialRecord& trial : run.trials) {
    const bool here = trial.experiment == experiment.name && trial.planned.backend == backend && !trial.planned.empty;
    if (!here || !is_counted(trial)) continue;
    if (const auto ready = mark_of(trial, "ready")) starts.push_back(*ready);
  }
  if (starts.empty()) return;
  put("p99", bench::statistics::quantile(starts, 0.99));
  put("mean", std::accumulate(starts.begin(), starts.end(), 0.0) / static_cast<double>(starts.size()));
}

void put_overhead(MetricTable& table, const std::string& backend, const std::string& workload, const std::string& measure,
                  const bench::Comparison& comparison, const bench::Summary& s) {
  // Above 1 is always worse: where more is better, the ratio is turned over.
  const auto oriented = [&](double ratio) { return comparison.lower_is_better ? ratio : 1 / ratio; };
  if (s.ratio && *s.ratio > 0) table.set("tare_overhead_ratio", {backend, workload, measure}, oriented(*s.ratio));
  if (s.ratio_ci95 && s.ratio_ci95->low > 0) {
    const double a = oriented(s.ratio_ci95->low);
    const double b = oriented(s.ratio_ci95->high);
    table.set("tare_overhead_ci_lower_ratio", {backend, workload, measure}, std::min(a, b));
    table.set("tare_overhead_ci_upper_ratio", {backend, workload, measure}, std::max(a, b));
  }
  if (s.mad && s.median && *s.median > 0) table.set("tare_result_variation_ratio", {backend, workload, measure}, *s.mad / *s.median);
}

void put_phases(MetricTable& table, const bench::RunRecord& run) {
  std::map<MetricTable::Labels, std::vector<double>> values;
  for (const bench::TrialRecord& trial : run.trials) {
    if (!is_counted(trial)) continue;
    for (const auto& [phase, seconds] : start_phases(trial)) values[{trial.planned.backend, trial.workload, phase}].push_back(seconds);
  }
  for (const auto& [labels, seconds] : values) {
    table.set("tare_result_phase_seconds", {labels[0], labels[1], labels[2], "p50"}, bench::statistics::median(seconds));
    table.set("tare_result_phase_seconds", {labels[0], labels[1], labels[2], "p95"}, bench::statistics::quantile(seconds, 0.95));
  }
}

}  // namespace

std::map<std::string, double> start_phases(const bench::TrialRecord& trial) {
  struct Step {
    const char* mark;   // at which the phase ends
    const char* phase;  // of a native workload
    const char* guest;  // of a VM, which has the mark `init`
  };
  const std::array<Step, 5> steps = {{{"launched", "create", "create"},
                                      {"kernel", "firmware", "firmware"},
                                      {"init", "kernel", "kernel"},
                                      {"executed", "exec", "userspace"},
                                      {"ready", "ready", "ready"}}};
  std::map<std::string, double> out;
  const bool guest = mark_of(trial, "init").has_value();
  double before = 0;
  for (const Step& step : steps) {
    const auto at = mark_of(trial, step.mark);
    if (!at) continue;
    if (*at < before) return {};  // out of order within a clock's error: no phase is better than a wrong one
    out[guest ? step.guest : step.phase] = *at - before;
    before = *at;
  }
  return out;
}

void put_result(MetricTable& table, const bench::RunRecord& run, const bench::Result& result, double computed_at) {
  for (const bench::ExperimentResult& experiment : result.experiments) {
    for (const bench::Comparison& comparison : experiment.comparisons) {
      const std::string measure = measure_of(comparison);
      if (measure.empty()) continue;
      for (const auto& [backend, summary] : comparison.backends) {
        if (summary.n == 0) continue;
        if (measure == "start") put_start(table, run, backend, experiment, summary);
        put_overhead(table, backend, experiment.workload, measure, comparison, summary);
        table.set("tare_result_trials", {backend, experiment.workload}, summary.n);
        table.set("tare_result_timestamp_seconds", {experiment.workload}, computed_at);
      }
    }
  }
  put_phases(table, run);
}

}  // namespace tare::agent
