// SPDX-License-Identifier: Apache-2.0
#include "agent/runs.h"

#include <algorithm>
#include <ctime>
#include <random>

#include "agent/cost.h"
#include "agent/journal.h"
#include "agent/record.h"
#include "agent/suggest.h"
#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent {
namespace {

std::uint64_t draw_seed() {
  std::random_device random;
  return random();  // 32 bits: short enough to type again after --seed
}

void choose_backends(bench::Suite& suite, const std::vector<std::string>& wanted, const std::vector<Backend*>& known) {
  std::vector<std::string> names;
  for (const Backend* backend : known) names.emplace_back(backend->name());
  if (!wanted.empty()) suite.backends = wanted;
  for (const std::string& backend : suite.backends) {
    if (std::find(names.begin(), names.end(), bench::lane_of(backend).backend) != names.end()) continue;
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
    throw Error(Code::invalid, "there is no backend '" + backend + "'" + did_you_mean(backend, names), "one of: " + list);
  }
}

}  // namespace

Runs::Runs(const Paths& paths, const BackendSet& backends, Store& store, EventHub& hub, Metrics& metrics)
    : paths_(paths), backends_(backends), store_(store), hub_(hub), metrics_(metrics) {}

Runs::~Runs() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

std::string Runs::start(const StartRun& request) {
  bench::Suite suite = bench::load_suite(request.suite_yaml, request.file_name);
  choose_backends(suite, request.backends, backends_.all());
  const std::uint64_t seed = request.seed ? *request.seed : suite.seed ? *suite.seed : draw_seed();

  const std::scoped_lock lock(mutex_);
  if (active_) {
    throw Error(Code::conflict, "run " + *active_ + " is active; two at once would measure each other",
                "wait for it, or end it with `tare cancel " + *active_ + "`");
  }
  // Another agent, such as the private one of another verb, may measure on this host.
  std::filesystem::create_directories(paths_.state);
  auto host_lock = FileLock::try_lock(paths_.state / "measure.lock");
  if (!host_lock) {
    std::string other = "another agent's run";
    for (const RunSummary& run : store_.runs(20)) {
      if (run.state == "running") other = "run " + run.id;
    }
    throw Error(Code::conflict, other + " is active; two at once would measure each other", "wait for it");
  }
  const std::string id = new_run_id();
  store_.begin_run(id, suite, bench::host_context(), seed);
  if (thread_.joinable()) thread_.join();  // the run before has ended; only its thread is left
  active_ = id;
  thread_ = std::jthread([this, id, suite = std::move(suite), seed, held = std::move(*host_lock)](const std::stop_token& stop) mutable {
    execute(id, suite, seed, std::move(held), stop);
  });
  return id;
}

void Runs::cancel(const std::string& id) {
  const std::scoped_lock lock(mutex_);
  if (active_ == id) {
    thread_.request_stop();
    return;
  }
  const auto run = store_.find(id);
  if (!run) throw Error(Code::not_found, "there is no run '" + id + "'", "`tare runs` lists them");
  throw Error(Code::conflict, "run " + id + " has ended (" + run->state + ")", "");
}

std::optional<std::string> Runs::active() const {
  const std::scoped_lock lock(mutex_);
  return active_;
}

Examination Runs::examination(bool fresh) {
  const std::scoped_lock lock(examining_);
  if (fresh || !examination_) {
    examination_ = examine(paths_, backends_);
    metrics_.set_examination(*examination_);
  }
  return *examination_;
}

std::vector<Backend*> Runs::chosen(const bench::Suite& suite) const {
  std::vector<Backend*> out;
  for (const std::string& wanted : suite.backends) {
    for (Backend* backend : backends_.all()) {
      const bool is_it = backend->name() == bench::lane_of(wanted).backend;
      if (is_it && std::find(out.begin(), out.end(), backend) == out.end()) out.push_back(backend);
    }
  }
  return out;
}

// The top of the run's thread: every failure ends here, as the run's own outcome.
void Runs::execute(const std::string& id, const bench::Suite& suite, std::uint64_t seed, FileLock lock, const std::stop_token& stop) {
  const std::vector<Backend*> backends = chosen(suite);
  Recorder recorder(id, suite, seed, store_, hub_, metrics_);
  std::string state = "failed";
  std::string sentence;
  try {
    if (calm_.valid()) calm_.wait();
    recorder.probe(backends);
    const bench::RunOptions options{id, seed, [this] { return agent_cost(backends_.helpers()); }};
    const bench::RunRecord record = bench::run(suite, backends, options, recorder, stop);
    state = name(record.outcome);
    recorder.finish(record);
  } catch (const Error& e) {
    sentence = e.what();
    journal::error("run " + id + ": " + sentence);
  } catch (const std::exception& e) {
    sentence = std::string("internal fault: ") + e.what();
    journal::error("run " + id + ": " + sentence);
  }
  metrics_.run_ended(suite, state);
  {
    FileLock released = std::move(lock);
    const std::scoped_lock guard(mutex_);
    active_.reset();
  }
  recorder.end(state, sentence);
}

}  // namespace tare::agent
