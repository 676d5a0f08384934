// SPDX-License-Identifier: Apache-2.0
// From samples to comparisons.
#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

#include "bench/result.h"
#include "bench/statistics.h"
#include "core/timeline.h"

namespace tare::bench {
namespace {

constexpr std::string_view kBaseline = "metal";

using ByBlock = std::map<int, double>;                           // one value a block
using Column = std::map<std::string, ByBlock>;                   // backend → values
using Metrics = std::map<std::string, Column>;                   // metric → columns
using Units = std::vector<std::pair<std::string, std::string>>;  // metric and unit, in order of first appearance

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }
bool counts(const TrialRecord& trial) { return trial.state == "ok" || starts_with(trial.state, "suspect:"); }

/// The measured trials of one experiment, sorted into columns.
struct Measured {
  Metrics gross;
  Metrics tare;
  Units order;                                           // over both
  std::map<std::pair<std::string, bool>, int> excluded;  // (backend, empty) → failed or invalid trials
  std::map<std::pair<std::string, bool>, int> suspect;
  std::map<std::pair<std::string, bool>, std::string> first_failure;
};

// Marks first, in the order in which they happen; then how long a stop takes; then the rest as the trials reported it.
std::size_t rank(const std::string& metric) {
  if (starts_with(metric, "mark.")) {
    if (const auto mark = mark_named(std::string_view(metric).substr(5))) return static_cast<std::size_t>(*mark);
  }
  return starts_with(metric, "stop.") ? kMarkCount : starts_with(metric, "usage.") ? kMarkCount + 2 : kMarkCount + 1;
}

Measured collect(const RunRecord& run, std::size_t experiment) {
  Measured m;
  for (const TrialRecord& trial : run.trials) {
    if (trial.planned.experiment != experiment || trial.planned.block == 0) continue;
    const std::pair<std::string, bool> cell(trial.planned.backend, trial.planned.empty);
    if (!counts(trial)) {
      ++m.excluded[cell];
      m.first_failure.emplace(cell, trial.sentence);
      continue;
    }
    if (trial.state != "ok") ++m.suspect[cell];
    for (const Sample& sample : trial.samples) {
      if (!sample.value) continue;
      (trial.planned.empty ? m.tare : m.gross)[sample.metric][trial.planned.backend][trial.planned.block] = *sample.value;
      const auto known = std::find_if(m.order.begin(), m.order.end(), [&](const auto& entry) { return entry.first == sample.metric; });
      if (known == m.order.end()) m.order.emplace_back(sample.metric, sample.unit);
    }
  }
  std::stable_sort(m.order.begin(), m.order.end(), [](const auto& a, const auto& b) { return rank(a.first) < rank(b.first); });
  return m;
}

std::string trials(int count, const std::string& of, const std::string& one, const std::string& more) {
  return std::to_string(count) + (count == 1 ? " trial" : " trials") + of + " " + (count == 1 ? one : more);
}

std::vector<double> values_of(const ByBlock& blocks) {
  std::vector<double> values;
  for (const auto& entry : blocks) values.push_back(entry.second);
  return values;
}

std::optional<Interval> interval_of(const std::vector<double>& values, std::uint64_t seed) {
  const auto found = statistics::median_interval(values, seed);
  if (!found) return std::nullopt;
  return Interval{found->first, found->second};
}

/// What one column is compared with and called.
struct Context {
  std::string label;  // seeds the bootstrap
  std::uint64_t seed = 0;
  bool usage = false;
  bool lower_is_better = true;
};

void describe(const ByBlock& blocks, const Context& context, Summary& summary) {
  const std::vector<double> values = values_of(blocks);
  summary.n = static_cast<int>(values.size());
  if (values.empty()) return;
  summary.min = *std::min_element(values.begin(), values.end());
  summary.max = *std::max_element(values.begin(), values.end());
  summary.median = statistics::median(values);
  summary.p95 = statistics::quantile(values, 0.95);
  summary.mad = statistics::mad(values);
  summary.ci95 = interval_of(values, statistics::seed_for(context.seed, context.label + "/median"));
}

// Paired by block: what drifted from block to block is in both and cancels (Kalibera & Jones; METHOD: effect = ratio with interval).
std::size_t compare(const ByBlock& blocks, const ByBlock& baseline, const Context& context, Summary& summary) {
  std::vector<double> differences;
  std::vector<double> logs;
  for (const auto& [block, value] : blocks) {
    const auto base = baseline.find(block);
    if (base == baseline.end()) continue;
    differences.push_back(value - base->second);
    if (value > 0 && base->second > 0) logs.push_back(std::log(value / base->second));
  }
  if (differences.empty()) return 0;
  summary.difference = statistics::median(differences);
  summary.difference_ci95 = interval_of(differences, statistics::seed_for(context.seed, context.label + "/difference"));
  if (logs.size() != differences.size()) return differences.size();  // a value of 0 or below has no ratio
  summary.ratio = std::exp(statistics::median(logs));
  if (const auto interval = interval_of(logs, statistics::seed_for(context.seed, context.label + "/ratio"))) {
    summary.ratio_ci95 = Interval{std::exp(interval->low), std::exp(interval->high)};
  }
  return differences.size();
}

std::string verdict(const Summary& summary, std::size_t pairs, const Context& context) {
  if (pairs == 0) return "no baseline";
  if (!summary.ratio_ci95 && !summary.difference_ci95) return "n too small";
  const double neutral = summary.ratio_ci95 ? 1 : 0;
  const Interval interval = summary.ratio_ci95 ? *summary.ratio_ci95 : *summary.difference_ci95;
  if (interval.low <= neutral && interval.high >= neutral) return "no difference";
  const bool more = interval.low > neutral;
  if (context.usage) return more ? "more" : "less";
  return more == context.lower_is_better ? "slower" : "faster";
}

const BackendInfo* info_of(const RunRecord& run, const std::string& backend) {
  const auto found = std::find_if(run.backends.begin(), run.backends.end(), [&](const BackendInfo& info) { return info.name == backend; });
  return found == run.backends.end() ? nullptr : &*found;
}

std::string missing(const RunRecord& run, const Measured& m, const std::string& backend, bool empty, const std::string& metric) {
  const BackendInfo* info = info_of(run, backend);
  if (info == nullptr) return "missing: not asked";
  if (!info->probe.able) return "missing: " + info->probe.reason;
  if (const auto why = info->missing.find(metric); why != info->missing.end()) return "missing: " + why->second;
  const auto failure = m.first_failure.find({backend, empty});
  const Metrics& metrics = empty ? m.tare : m.gross;
  const bool any = std::any_of(metrics.begin(), metrics.end(), [&](const auto& entry) { return entry.second.contains(backend); });
  if (any && starts_with(metric, "mark.")) return "missing: not a mark of " + backend;
  if (any && starts_with(metric, "phase.")) return "missing: not a phase of " + backend;
  if (any) return "missing: " + backend + " does not tell";
  return failure == m.first_failure.end() ? "missing: no trial was finished" : "missing: " + failure->second;
}

class Analysis {
 public:
  Analysis(const Suite& suite, const RunRecord& run, std::size_t experiment)
      : suite_(suite), run_(run), experiment_(suite.experiments[experiment]), measured_(collect(run, experiment)) {}

  ExperimentResult result() const {
    ExperimentResult out;
    out.name = experiment_.name;
    out.workload = experiment_.workload;
    out.empty = experiment_.empty.value_or("");
    out.measure = name(experiment_.measure);
    for (const auto& [metric, unit] : measured_.order) {
      const auto gross = measured_.gross.find(metric);
      const auto tare = measured_.tare.find(metric);
      if (gross != measured_.gross.end()) out.comparisons.push_back(comparison(metric, unit, "gross", gross->second));
      if (tare != measured_.tare.end()) out.comparisons.push_back(comparison(metric, unit, "tare", tare->second));
      if (gross != measured_.gross.end()) add_net(metric, unit, gross->second, out);
    }
    return out;
  }

  void add_warnings(std::vector<std::string>& warnings) const {
    for (const std::string& backend : suite_.backends) {
      for (const bool empty : {false, true}) {
        const std::string what = backend + ": ";
        const std::string of = " of '" + experiment_.name + (empty ? "' (empty)" : "'");
        if (const auto failed = measured_.excluded.find({backend, empty}); failed != measured_.excluded.end()) {
          warnings.push_back(what + trials(failed->second, of, "failed and is", "failed and are") +
                             " not in its numbers: " + measured_.first_failure.at({backend, empty}));
        }
        if (const auto suspect = measured_.suspect.find({backend, empty}); suspect != measured_.suspect.end()) {
          warnings.push_back(what + trials(suspect->second, of, "was disturbed and is", "were disturbed and are") +
                             " in its numbers: " + reasons(backend, empty));
        }
      }
    }
  }

 private:
  std::string reasons(const std::string& backend, bool empty) const {
    std::set<std::string> words;
    for (const TrialRecord& trial : run_.trials) {
      const bool here = trial.experiment == experiment_.name && trial.planned.block > 0 && trial.planned.backend == backend &&
                        trial.planned.empty == empty;
      if (here && starts_with(trial.state, "suspect:")) words.insert(trial.state.substr(8));
    }
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
    return out;
  }

  int count(const std::map<std::pair<std::string, bool>, int>& counts, const std::string& backend, bool empty) const {
    const auto found = counts.find({backend, empty});
    return found == counts.end() ? 0 : found->second;
  }

  Comparison comparison(const std::string& metric, const std::string& unit, const std::string& kind, const Column& column) const {
    Comparison out;
    out.metric = metric;
    out.unit = unit;
    out.kind = kind;
    out.lower_is_better = unit.size() < 2 || unit.substr(unit.size() - 2) != "/s";
    for (const std::string& backend : suite_.backends) out.backends[backend] = summary(out, backend, column);
    return out;
  }

  Summary summary(const Comparison& comparison, const std::string& backend, const Column& column) const {
    const bool empty = comparison.kind == "tare";
    Summary out;
    out.excluded = count(measured_.excluded, backend, empty);
    out.suspect = count(measured_.suspect, backend, empty);
    if (comparison.kind == "net") {  // a net value needs both trials of its block
      out.excluded += count(measured_.excluded, backend, true);
      out.suspect += count(measured_.suspect, backend, true);
    }
    const auto blocks = column.find(backend);
    if (blocks == column.end() || blocks->second.empty()) {
      out.verdict = missing(run_, measured_, backend, empty, comparison.metric);
      return out;
    }
    const Context context{experiment_.name + "/" + comparison.kind + "/" + comparison.metric + "/" + backend, run_.seed,
                          starts_with(comparison.metric, "usage."), comparison.lower_is_better};
    describe(blocks->second, context, out);
    const auto baseline = column.find(std::string(kBaseline));
    if (backend == kBaseline) {
      out.verdict = "baseline";
      return out;
    }
    const std::size_t pairs = baseline == column.end() ? 0 : compare(blocks->second, baseline->second, context, out);
    const BackendInfo* info = info_of(run_, backend);
    out.verdict = info != nullptr && info->probe.emulated ? "emulated" : verdict(out, pairs, context);
    return out;
  }

  // Of which metric of the counterpart is taken off: result.h, Comparison.
  static std::string counterpart_of(const std::string& metric) {
    if (metric == "mark.ready" || metric == "mark.responded") return "mark.ready";
    return starts_with(metric, "usage.") ? metric : std::string();
  }

  void add_net(const std::string& metric, const std::string& unit, const Column& gross, ExperimentResult& out) const {
    const auto tare = measured_.tare.find(counterpart_of(metric));
    if (tare == measured_.tare.end()) return;
    Column net;
    for (const auto& [backend, blocks] : gross) {
      const auto counterpart = tare->second.find(backend);
      if (counterpart == tare->second.end()) continue;
      for (const auto& [block, value] : blocks) {
        const auto weight = counterpart->second.find(block);
        if (weight != counterpart->second.end()) net[backend][block] = value - weight->second;
      }
    }
    if (!net.empty()) out.comparisons.push_back(comparison(metric, unit, "net", net));
  }

  const Suite& suite_;
  const RunRecord& run_;
  const Experiment& experiment_;
  Measured measured_;
};

// A guest that writes or reads faster than the metal below it has most likely not asked the disk.
void flag_impossible(const ExperimentResult& experiment, std::vector<std::string>& warnings) {
  for (const Comparison& comparison : experiment.comparisons) {
    const bool io = starts_with(comparison.metric, "probe.file") || starts_with(comparison.metric, "fio.");
    const bool cpu_time = comparison.metric.size() > 4 && comparison.metric.substr(comparison.metric.size() - 4) == ".cpu";
    if (!io || cpu_time) continue;
    for (const auto& [backend, summary] : comparison.backends) {
      if (summary.verdict != "faster") continue;
      warnings.push_back(backend + " is faster than metal in " + comparison.metric + " of '" + experiment.name +
                         "': suspect a cache or a flush that was not made");
    }
  }
}

}  // namespace

Result analyse(const Suite& suite, const RunRecord& run, const HostContext& host) {
  Result result;
  result.warnings = run.warnings;
  for (std::size_t i = 0; i < suite.experiments.size(); ++i) {
    const Analysis analysis(suite, run, i);
    result.experiments.push_back(analysis.result());
    analysis.add_warnings(result.warnings);
    flag_impossible(result.experiments.back(), result.warnings);
  }
  result.warnings.insert(result.warnings.end(), host.warnings.begin(), host.warnings.end());
  return result;
}

}  // namespace tare::bench
