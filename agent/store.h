// SPDX-License-Identifier: Apache-2.0
// Runs, trials, samples and events on disk: SQLite in WAL mode, synchronous=FULL, explicit checkpoints. What a call has acknowledged
// survives SIGKILL and power loss. Thread-safe.
//
// Several agents may have the same database open, and all of them read it at any time. On this host one at a time writes: a run's agent
// from begin_run() to end_run(), holding the lock file beside the database. SQLite before 3.51.3 can damage a database that two connections
// write and checkpoint at once ("WAL-reset bug"), and Debian's is older.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bench/host.h"
#include "bench/runner.h"
#include "bench/suite.h"

namespace tare::agent {

class Connection;  // agent/sqlite.h

/// One line of `tare runs`.
struct RunSummary {
  std::string id;
  std::string suite;       // its name
  std::string state;       // running | ok | failed | canceled | interrupted
  std::string sentence;    // why it failed as a whole; empty when it did not
  std::string started_at;  // UTC, RFC 3339
  std::optional<double> wall_seconds;
  std::optional<double> finished_at;  // unix time
  std::uint64_t seed = 0;
  int planned = 0;
  int completed = 0;
};

/// One persistent event of a run: what a client that was away can ask for again.
struct StoredEvent {
  std::int64_t id = 0;  // counts from 1 in each run
  std::string kind;     // run | trial | warning | result | finished
  std::string data;     // JSON
  int trial = 0;        // its samples belong to the event; 0: none
};

class Store {
 public:
  /// Opens or makes the database. Throws Error naming the path.
  explicit Store(std::filesystem::path path);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Becomes the one who writes. Throws Error(conflict) when another agent still is after `patience`: it measures, or cleans up.
  void begin_run(const std::string& id, const bench::Suite& suite, const bench::HostContext& host, std::uint64_t seed,
                 std::chrono::nanoseconds patience = std::chrono::seconds(10));
  /// The trial, its samples and its event in one transaction.
  void add_trial(const std::string& run, const bench::TrialRecord& trial, const std::string& event_json);
  void add_event(const std::string& run, const std::string& kind, const std::string& json);
  /// Known when the backends have been probed: writes the event `run`, the first of each run.
  void set_plan(const std::string& run, const std::vector<bench::BackendInfo>& backends, const std::vector<bench::PlannedTrial>& plan);
  void set_result(const std::string& run, const std::string& result_json, const std::string& report);
  /// The end of a run: its state, what it says, and the event `finished`. Then others may write, also when this throws.
  void end_run(const bench::RunRecord& record, const std::string& state, const std::string& sentence);
  /// Runs left "running" by an agent that is no more become "interrupted". Their ids; none while another agent writes.
  std::vector<std::string> mark_interrupted();
  /// Moves the log into the database, within a run. Never called inside a timed window: it is the one bulk write of the store.
  void checkpoint();

  /// Newest first.
  std::vector<RunSummary> runs(int limit = 1000) const;
  std::optional<RunSummary> find(const std::string& id) const;
  std::vector<bench::Sample> samples(const std::string& run, std::optional<int> trial = {}) const;
  std::vector<StoredEvent> events(const std::string& run, std::int64_t after, int limit) const;
  /// The result and report last stored; nothing when none was.
  std::optional<std::string> result(const std::string& run) const;
  std::optional<std::string> report(const std::string& run) const;
  /// Suite, host and record as they were, to analyse again. Throws Error(not_found).
  struct Loaded {
    bench::Suite suite;
    bench::HostContext host;
    bench::RunRecord record;
    std::string state;
  };
  Loaded load(const std::string& run) const;
  /// The newest finished run that has samples.
  std::optional<std::string> last_finished() const;

 private:
  class Writer;
  std::unique_ptr<Writer> try_writer() const;
  Connection& writer() const;

  std::filesystem::path path_;
  mutable std::mutex writing_;
  mutable std::mutex reading_;
  std::unique_ptr<Writer> writer_;  // within a run
  std::unique_ptr<Connection> reader_;
};

}  // namespace tare::agent
