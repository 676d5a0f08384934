// SPDX-License-Identifier: Apache-2.0
#include "bench/runner.h"

#include <array>
#include <cctype>
#include <ctime>
#include <set>
#include <tuple>

#include "bench/trial.h"
#include "core/error.h"

namespace tare::bench {
namespace {

constexpr int kEqualFailures = 3;  // in a row, of one workload on one backend: a fourth would say nothing new

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> out{};
  return {out.data(), std::strftime(out.data(), out.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

// The sentence without what differs from instance to instance: ids ("t" and 12 hex digits) become "t…".
std::string without_ids(const std::string& sentence) {
  std::string out;
  for (std::size_t i = 0; i < sentence.size();) {
    std::size_t end = i + 1;
    while (end < sentence.size() && std::isxdigit(static_cast<unsigned char>(sentence[end])) != 0) ++end;
    const bool id = sentence[i] == 't' && end == i + 13;
    out += id ? "t…" : sentence.substr(i, 1);
    i = id ? end : i + 1;
  }
  return out;
}

class Run {
 public:
  Run(const Suite& suite, const std::vector<Backend*>& backends, const RunOptions& options, Observer& observer)
      : suite_(suite), options_(options), observer_(observer), setting_{&suite, options.id, &options} {
    record_.id = options.id;
    record_.seed = options.seed;
    record_.started_at = utc_now();
    for (Backend* backend : backends) backends_[std::string(backend->name())] = backend;
  }

  RunRecord execute(const std::stop_token& stop) {
    const Instant start = Instant::now();
    const AgentCost before = cost();
    ask_backends(stop);
    prepare(stop);
    const auto order = plan(suite_, able_, options_.seed);
    for (const PlannedTrial& planned : order) {
      if (stop.stop_requested()) break;
      execute(planned, static_cast<int>(order.size()), stop);
    }
    for (const std::string& lane : able_) backend_of(lane).give_up_parked();
    const AgentCost after = cost();
    record_.wall_seconds = std::chrono::duration<double>(Instant::now() - start).count();
    record_.agent_cost = {after.cpu_seconds - before.cpu_seconds, after.memory_bytes, record_.wall_seconds};
    record_.outcome = stop.stop_requested() ? Outcome::canceled : outcome();
    return std::move(record_);
  }

 private:
  using Pair = std::pair<std::string, std::string>;  // backend and workload

  struct Streak {
    std::string sentence;
    int length = 0;
  };

  Backend& backend_of(const std::string& lane) const { return *backends_.at(lane_of(lane).backend); }

  AgentCost cost() const { return options_.agent_cost ? options_.agent_cost() : AgentCost(); }

  void warn(const std::string& sentence) {
    record_.warnings.push_back(sentence);
    observer_.warning(sentence);
  }

  void ask_backends(const std::stop_token& stop) {
    for (const std::string& name : suite_.backends) {
      if (stop.stop_requested()) return;
      BackendInfo info{name, {}, {}};
      const auto found = backends_.find(lane_of(name).backend);
      if (found == backends_.end()) {
        info.probe.reason = "this tare has no backend '" + name + "'";
      } else {
        info.probe = probe_of(*found->second);
      }
      if (info.probe.able) {
        able_.push_back(name);
      } else {
        warn(name + " is not measured: " + info.probe.reason + (info.probe.remedy.empty() ? "" : " (" + info.probe.remedy + ")"));
      }
      if (info.probe.able && info.probe.emulated) {
        warn(name + " is emulated" + (info.probe.reason.empty() ? "" : ": " + info.probe.reason) +
             "; its numbers say nothing about a VM on hardware virtualisation");
      }
      record_.backends.push_back(std::move(info));
    }
  }

  static Probe probe_of(const Backend& backend) {
    try {
      return backend.probe();
    } catch (const std::exception& error) {
      Probe probe;
      probe.reason = error.what();
      return probe;
    }
  }

  void prepare(const std::stop_token& stop) {
    std::set<std::string> used;
    for (const Experiment& experiment : suite_.experiments) {
      used.insert(experiment.workload);
      if (experiment.empty) used.insert(*experiment.empty);
    }
    for (const std::string& backend : able_) {
      for (const std::string& workload : used) {
        if (stop.stop_requested()) return;
        observer_.preparing(backend, workload);
        try {
          backend_of(backend).prepare(in_lane(suite_.workloads.at(workload), lane_of(backend)));
        } catch (const Error& error) {
          hopeless_.emplace(Pair(backend, workload), error);
        } catch (const std::exception& error) {
          hopeless_.emplace(Pair(backend, workload), Error(Code::internal, error.what()));
        }
      }
    }
  }

  void execute(const PlannedTrial& planned, int total, const std::stop_token& stop) {
    observer_.trial_started(planned, total);
    const Pair pair(planned.backend, workload_of(suite_, planned).name);
    std::optional<TrialRecord> trial;
    if (const auto known = hopeless_.find(pair); known != hopeless_.end()) {
      trial = blank_record(setting_, planned);
      fail_record(setting_, *trial, known->second);
    } else {
      TrialExtras extras;
      trial = run_trial(setting_, planned, backend_of(planned.backend), extras, stop);
      keep_extras(pair, extras);
    }
    if (!trial) return;
    observer_.trial_finished(*trial, total);
    if (!hopeless_.contains(pair)) watch_streak(pair, *trial);
    record_.trials.push_back(std::move(*trial));
  }

  // Of the first workload as they are; of each further one what differs, as "profile (serve)".
  void keep_protections(BackendInfo& info, const Pair& pair, const std::map<std::string, std::string>& protections) {
    if (protections.empty() || !protected_.insert(pair).second) return;
    const bool first = info.protections.empty();
    for (const auto& [key, value] : protections) {
      const auto known = info.protections.find(key);
      if (known != info.protections.end() && known->second == value) continue;
      info.protections[first ? key : key + " (" + pair.second + ")"] = value;
    }
  }

  void keep_extras(const Pair& pair, const TrialExtras& extras) {
    for (BackendInfo& info : record_.backends) {
      if (info.name != pair.first) continue;
      keep_protections(info, pair, extras.protections);
      info.missing.insert(extras.missing.begin(), extras.missing.end());
    }
    for (const std::string& remark : extras.remarks) {
      const std::string sentence = pair.first + ": workload '" + pair.second + "': " + remark;
      if (remarked_.insert(sentence).second) warn(sentence);
    }
  }

  void watch_streak(const Pair& pair, const TrialRecord& trial) {
    Streak& streak = streaks_[pair];
    if (trial.state.compare(0, 7, "failed:") != 0) {
      streak = {};
      return;
    }
    const std::string sentence = without_ids(trial.sentence);
    streak.length = streak.sentence == sentence ? streak.length + 1 : 1;
    streak.sentence = sentence;
    if (streak.length < kEqualFailures) return;
    const Code code = code_named(std::string_view(trial.state).substr(7));
    hopeless_.emplace(pair, Error(code, "skipped after " + std::to_string(kEqualFailures) + " equal failures: " + sentence, trial.hint));
    warn(pair.first + ": workload '" + pair.second + "' failed " + std::to_string(kEqualFailures) +
         " times in a row with the same cause; the rest of its trials is skipped: " + sentence);
  }

  Outcome outcome() const {
    if (able_.empty()) return Outcome::failed;
    for (const TrialRecord& trial : record_.trials) {
      if (trial.planned.block > 0 && trial.state.compare(0, 7, "failed:") == 0) return Outcome::failed;
    }
    return Outcome::ok;
  }

  const Suite& suite_;
  const RunOptions& options_;
  Observer& observer_;
  TrialSetting setting_;
  std::map<std::string, Backend*> backends_;
  std::vector<std::string> able_;
  std::map<Pair, Error> hopeless_;  // of which no further trial is tried, and why
  std::map<Pair, Streak> streaks_;
  std::set<Pair> protected_;        // whose protections are kept
  std::set<std::string> remarked_;  // the warnings that instances caused
  RunRecord record_;
};

}  // namespace

RunRecord run(const Suite& suite, const std::vector<Backend*>& backends, const RunOptions& options, Observer& observer,
              const std::stop_token& stop) {
  return Run(suite, backends, options, observer).execute(stop);
}

}  // namespace tare::bench
