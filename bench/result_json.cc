// SPDX-License-Identifier: Apache-2.0
// result.json: a contract with other programs (DESIGN.md, "Contracts"); kResultSchema changes with it.
#include <boost/json.hpp>

#include "bench/json_text.h"
#include "bench/result.h"
#include "bench/result_fields.h"
#include "bench/statistics.h"

namespace tare::bench {
namespace {

namespace json = boost::json;

template <class Map>
json::object object_of(const Map& map) {
  json::object out;
  for (const auto& [key, value] : map) out[key] = value;
  return out;
}

json::array array_of(const std::vector<std::string>& words) {
  json::array out;
  for (const std::string& word : words) out.emplace_back(word);
  return out;
}

json::object run_object(const RunRecord& run) {
  int measured = 0;
  int warmup = 0;
  int failed = 0;
  int invalid = 0;
  int suspect = 0;
  for (const TrialRecord& trial : run.trials) {
    ++(trial.planned.block == 0 ? warmup : measured);
    if (trial.planned.block == 0) continue;
    if (trial.state.compare(0, 7, "failed:") == 0) ++failed;
    if (trial.state.compare(0, 8, "invalid:") == 0) ++invalid;
    if (trial.state.compare(0, 8, "suspect:") == 0) ++suspect;
  }
  json::object out;
  out["id"] = run.id;
  out["started_at"] = run.started_at;
  out["wall_seconds"] = run.wall_seconds;
  out["seed"] = std::to_string(run.seed);  // as a text: JSON's numbers lose digits above 2^53
  out["outcome"] = run.outcome == Outcome::ok ? "ok" : run.outcome == Outcome::failed ? "failed" : "canceled";
  out["trials"] = {{"measured", measured}, {"warmup", warmup}, {"failed", failed}, {"invalid", invalid}, {"suspect", suspect}};
  return out;
}

json::object suite_object(const Suite& suite) {
  json::object out;
  out["name"] = suite.name;
  out["description"] = suite.description;
  out["digest"] = suite.digest;
  out["text"] = suite.text;
  return out;
}

json::object host_object(const HostContext& host) {
  json::object out;
  out["facts"] = object_of(host.facts);
  out["warnings"] = array_of(host.warnings);
  json::array checks;
  for (const Check& check : host.checks) {
    checks.push_back({{"name", check.name}, {"ok", check.ok}, {"sentence", check.sentence}, {"remedy", check.remedy}});
  }
  out["checks"] = std::move(checks);
  return out;
}

json::array backend_array(const RunRecord& run) {
  json::array out;
  for (const BackendInfo& info : run.backends) {
    json::object one;
    one["name"] = info.name;
    one["probe"] = {{"able", info.probe.able},
                    {"emulated", info.probe.emulated},
                    {"reason", info.probe.reason},
                    {"remedy", info.probe.remedy},
                    {"implementation", info.probe.implementation},
                    {"details", object_of(info.probe.details)}};
    one["accelerator"] = info.probe.accelerator;
    one["protections"] = object_of(info.protections);
    if (!info.missing.empty()) one["missing"] = object_of(info.missing);
    out.emplace_back(std::move(one));
  }
  return out;
}

// What was not measured is not in the object: a reader must not take null for 0.
void put(json::object& object, const char* key, const std::optional<double>& value) {
  if (value) object[key] = *value;
}
void put(json::object& object, const char* key, const std::optional<Interval>& interval) {
  if (interval) object[key] = json::array{interval->low, interval->high};
}

json::object summary_object(const Summary& summary) {
  json::object out;
  out["n"] = summary.n;
  out["excluded"] = summary.excluded;
  out["suspect"] = summary.suspect;
  put(out, "min", summary.min);
  put(out, "median", summary.median);
  put(out, "p95", summary.p95);
  put(out, "max", summary.max);
  put(out, "mad", summary.mad);
  put(out, "ci95", summary.ci95);
  put(out, "ratio", summary.ratio);
  put(out, "ratio_ci95", summary.ratio_ci95);
  put(out, "difference", summary.difference);
  put(out, "difference_ci95", summary.difference_ci95);
  out["verdict"] = summary.verdict;
  return out;
}

json::object experiment_object(const Suite& suite, const ExperimentResult& experiment) {
  json::object out;
  out["name"] = experiment.name;
  out["measure"] = experiment.measure;
  out["workload"] = experiment.workload;
  const Start start = suite.workloads.at(experiment.workload).start;
  if (start != Start::cold) out["start"] = name(start);  // of the lanes that name none
  if (!experiment.empty.empty()) out["empty"] = experiment.empty;
  json::array comparisons;
  for (const Comparison& comparison : experiment.comparisons) {
    json::object one;
    one["metric"] = comparison.metric;
    one["unit"] = comparison.unit;
    one["kind"] = comparison.kind;
    one["lower_is_better"] = comparison.lower_is_better;
    json::object backends;  // in the suite's order
    for (const std::string& backend : suite.backends) {
      const auto found = comparison.backends.find(backend);
      if (found != comparison.backends.end()) backends[backend] = summary_object(found->second);
    }
    one["backends"] = std::move(backends);
    comparisons.emplace_back(std::move(one));
  }
  out["comparisons"] = std::move(comparisons);
  return out;
}

}  // namespace

std::string result_json(const Suite& suite, const RunRecord& run, const HostContext& host, const Result& result) {
  json::object out;
  out["schema"] = kResultSchema;
  out["run"] = run_object(run);
  out["suite"] = suite_object(suite);
  out["host"] = host_object(host);
  out["backends"] = backend_array(run);
  json::array experiments;
  for (const ExperimentResult& experiment : result.experiments) experiments.emplace_back(experiment_object(suite, experiment));
  out["experiments"] = std::move(experiments);
  out["warnings"] = array_of(result.warnings);
  out["agent_cost"] = {{"cpu_seconds", run.agent_cost.cpu_seconds},
                       {"memory_bytes", run.agent_cost.memory_bytes},
                       {"wall_seconds", run.agent_cost.wall_seconds}};
  out["statistics"] = {{"interval", "BCa bootstrap, 95 %, of the median"},
                       {"resamples", statistics::kResamples},
                       {"least_n", statistics::kLeastForInterval},
                       {"ratio", "to metal, paired by block: exp of the median of log ratios"},
                       {"p95", "quantile of type 7"}};
  return json_text(out);
}

}  // namespace tare::bench
