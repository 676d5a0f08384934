// SPDX-License-Identifier: Apache-2.0
#include "agent/record.h"

#include <algorithm>
#include <ctime>

#include "agent/journal.h"
#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kResultEvery = std::chrono::seconds(10);

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The backends that can run here, in the order in which the runner plans them.
std::vector<std::string> able(const std::vector<bench::BackendInfo>& backends) {
  std::vector<std::string> out;
  for (const bench::BackendInfo& backend : backends) {
    if (backend.probe.able) out.push_back(backend.name);
  }
  return out;
}

}  // namespace

std::string trial_json(const bench::TrialRecord& trial, int total) {
  boost::json::object out;
  out["number"] = trial.planned.number;
  out["total"] = total;
  out["block"] = trial.planned.block;
  out["backend"] = trial.planned.backend;
  out["experiment"] = trial.experiment;
  out["workload"] = trial.workload;
  out["variant"] = trial.variant;
  out["empty"] = trial.planned.empty;
  out["state"] = trial.state;
  out["sentence"] = trial.sentence;
  out["hint"] = trial.hint;
  out["seconds"] = trial.seconds;
  return boost::json::serialize(out);
}

Recorder::Recorder(const std::string& id, const bench::Suite& suite, std::uint64_t seed, Store& store, EventHub& hub, Metrics& metrics)
    : suite_(suite), store_(store), hub_(hub), metrics_(metrics), host_(bench::host_context()), began_(Clock::now()), computed_(began_) {
  record_.id = id;
  record_.seed = seed;
  record_.started_at = utc_now();
  record_.outcome = bench::Outcome::failed;
}

void Recorder::probe(const std::vector<Backend*>& backends) {
  for (const std::string& lane : suite_.backends) {
    const auto is_its = [name = bench::lane_of(lane).backend](const Backend* backend) { return backend->name() == name; };
    const auto backend = std::find_if(backends.begin(), backends.end(), is_its);
    if (backend == backends.end()) continue;
    boost::json::object progress;
    progress["probing"] = (*backend)->name();
    hub_.set_progress(record_.id, boost::json::serialize(progress));
    record_.backends.push_back({lane, (*backend)->probe(), {}});
  }
  const auto plan = bench::plan(suite_, able(record_.backends), record_.seed);
  metrics_.set_backends(record_.backends);
  metrics_.run_began(record_.id, suite_, plan);
  store_.set_plan(record_.id, record_.backends, plan);
  hub_.published();
}

void Recorder::trial_started(const bench::PlannedTrial& trial, int total) {
  boost::json::object progress;
  progress["number"] = trial.number;
  progress["total"] = total;
  progress["backend"] = trial.backend;
  progress["experiment"] = suite_.experiments.at(trial.experiment).name;
  hub_.set_progress(record_.id, boost::json::serialize(progress));
}

void Recorder::trial_finished(const bench::TrialRecord& trial, int total) {
  store_.add_trial(record_.id, trial, trial_json(trial, total));
  metrics_.trial_finished(trial);
  record_.trials.push_back(trial);
  record_.trials.back().raw_output.clear();  // it is in the store; a long run would hold megabytes of it
  hub_.published();
  // The result so far costs CPU, so it is computed here, between two trials, and seldom: at most a twentieth of the time.
  if (trial.planned.number < total && Clock::now() - computed_ > kResultEvery + 20 * cost_) compute_result();
}

void Recorder::warning(const std::string& sentence) {
  record_.warnings.push_back(sentence);
  boost::json::object data;
  data["sentence"] = sentence;
  store_.add_event(record_.id, "warning", boost::json::serialize(data));
  hub_.published();
}

void Recorder::preparing(const std::string& backend, const std::string& workload) {
  boost::json::object progress;
  progress["preparing"] = workload;
  progress["backend"] = backend;
  hub_.set_progress(record_.id, boost::json::serialize(progress));
}

void Recorder::finish(const bench::RunRecord& record) {
  record_ = record;
  compute_result();
}

void Recorder::compute_result() {
  const auto start = Clock::now();
  record_.wall_seconds = seconds_since(began_);
  const bench::Result result = bench::analyse(suite_, record_, host_);
  metrics_.set_result(suite_, record_, result, static_cast<double>(std::time(nullptr)));
  store_.set_result(record_.id, bench::result_json(suite_, record_, host_, result), bench::report_markdown(suite_, record_, host_, result));
  store_.checkpoint();
  hub_.published();
  computed_ = Clock::now();
  cost_ = computed_ - start;
}

void Recorder::end(const std::string& state, const std::string& sentence) noexcept {
  try {
    if (record_.wall_seconds == 0) record_.wall_seconds = seconds_since(began_);
    store_.end_run(record_, state, sentence);
  } catch (const std::exception& e) {
    // The streams wait for an end; they see it in the hub, since the store cannot hold it.
    journal::error("run " + record_.id + ": its end could not be stored: " + e.what());
    boost::json::object lost;
    lost["finished"] = state;
    lost["sentence"] = sentence.empty() ? e.what() : sentence;
    hub_.set_progress(record_.id, boost::json::serialize(lost));
    return;
  }
  hub_.published();
}

}  // namespace tare::agent
