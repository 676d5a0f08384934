// SPDX-License-Identifier: Apache-2.0
#include "agent/store.h"

#include <unistd.h>

#include <ctime>
#include <map>

#include "agent/sqlite.h"
#include "agent/wire.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent {
namespace {

constexpr int kSchemaVersion = 1;
constexpr const char* kSchema = R"(
CREATE TABLE runs(
  id TEXT PRIMARY KEY, suite_name TEXT NOT NULL, suite TEXT NOT NULL, digest TEXT NOT NULL, seed INTEGER NOT NULL,
  state TEXT NOT NULL, sentence TEXT NOT NULL DEFAULT '', owner TEXT NOT NULL, planned INTEGER NOT NULL,
  started_at TEXT NOT NULL, finished_at REAL, wall_seconds REAL, host TEXT NOT NULL, backends TEXT, warnings TEXT, agent_cost TEXT,
  result TEXT, report TEXT);
CREATE TABLE trials(
  run TEXT NOT NULL, number INTEGER NOT NULL, block INTEGER NOT NULL, experiment_index INTEGER NOT NULL, empty INTEGER NOT NULL,
  backend TEXT NOT NULL, experiment TEXT NOT NULL, workload TEXT NOT NULL, variant TEXT NOT NULL, state TEXT NOT NULL,
  sentence TEXT NOT NULL, hint TEXT NOT NULL, seconds REAL NOT NULL, raw_output TEXT NOT NULL,
  PRIMARY KEY(run, number)) WITHOUT ROWID;
CREATE TABLE samples(
  run TEXT NOT NULL, trial INTEGER NOT NULL, place INTEGER NOT NULL, block INTEGER NOT NULL, backend TEXT NOT NULL,
  variant TEXT NOT NULL, workload TEXT NOT NULL, experiment TEXT NOT NULL, metric TEXT NOT NULL, unit TEXT NOT NULL,
  value REAL, state TEXT NOT NULL, PRIMARY KEY(run, trial, place)) WITHOUT ROWID;
CREATE TABLE events(
  run TEXT NOT NULL, id INTEGER NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, trial INTEGER NOT NULL,
  PRIMARY KEY(run, id)) WITHOUT ROWID;
)";

// Process id and start time (field 22 of /proc/<pid>/stat): pids are reused, start times are not.
std::string process_identity(const std::string& pid) {
  const auto stat = try_read_file("/proc/" + pid + "/stat");
  if (!stat) return {};
  std::size_t at = stat->rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat->find(' ', at + 1);
  return at == std::string::npos ? std::string() : pid + " " + stat->substr(at + 1, stat->find(' ', at + 1) - at - 1);
}

void insert_event(Statement& insert, const std::string& run, const std::string& kind, const std::string& json, int trial) {
  insert.bind(run).bind(kind).bind(json).bind(trial).finish();
}

constexpr const char* kInsertEvent =
    "INSERT INTO events(run,id,kind,data,trial) SELECT ?1, coalesce(max(id),0)+1, ?2, ?3, ?4 FROM events WHERE run=?1";

}  // namespace

Store::Store(const std::filesystem::path& path) : path_(path) {
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  writer_ = std::make_unique<Connection>(path, false);
  writer_->run("PRAGMA journal_mode=WAL");
  writer_->run("PRAGMA synchronous=FULL");
  writer_->run("PRAGMA wal_autocheckpoint=0");
  Transaction transaction(*writer_);
  Statement version(*writer_, "PRAGMA user_version");
  version.next();
  const auto found = version.number(0);
  if (found == 0) {
    writer_->run(kSchema);
    writer_->run("PRAGMA user_version=" + std::to_string(kSchemaVersion));
  } else if (found != kSchemaVersion) {
    throw Error(Code::conflict,
                path.string() + " has schema " + std::to_string(found) + ", this tare reads " + std::to_string(kSchemaVersion),
                "set TARE_STATE_DIR to another directory, or use the tare that made it");
  }
  version.reset();
  transaction.commit();
  reader_ = std::make_unique<Connection>(path, true);
}

Store::~Store() = default;

void Store::begin_run(const std::string& id, const bench::Suite& suite, const bench::HostContext& host, std::uint64_t seed) {
  const std::scoped_lock lock(writing_);
  Transaction transaction(*writer_);
  Statement insert(*writer_,
                   "INSERT INTO runs(id,suite_name,suite,digest,seed,state,owner,planned,started_at,host) "
                   "VALUES(?,?,?,?,?,'running',?,0,?,?)");
  insert.bind(id).bind(suite.name).bind(suite.text).bind(suite.digest).bind(static_cast<std::int64_t>(seed));
  insert.bind(process_identity(std::to_string(::getpid()))).bind(utc_now());
  insert.bind(boost::json::serialize(to_json(host))).finish();
  transaction.commit();
}

void Store::add_trial(const std::string& run, const bench::TrialRecord& t, const std::string& event_json) {
  const std::scoped_lock lock(writing_);
  Transaction transaction(*writer_);
  Statement trial(*writer_, "INSERT INTO trials VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  trial.bind(run).bind(t.planned.number).bind(t.planned.block).bind(static_cast<std::int64_t>(t.planned.experiment));
  trial.bind(t.planned.empty ? 1 : 0).bind(t.planned.backend).bind(t.experiment).bind(t.workload).bind(t.variant).bind(t.state);
  trial.bind(t.sentence).bind(t.hint).bind(t.seconds).bind(t.raw_output).finish();
  Statement insert(*writer_, "INSERT INTO samples VALUES(?,?,?,?,?,?,?,?,?,?,?,?)");
  int place = 0;
  for (const bench::Sample& s : t.samples) {
    insert.bind(run).bind(t.planned.number).bind(place++).bind(s.block).bind(s.backend).bind(s.variant).bind(s.workload);
    insert.bind(s.experiment).bind(s.metric).bind(s.unit).bind(s.value).bind(s.state).finish();
  }
  Statement event(*writer_, kInsertEvent);
  insert_event(event, run, "trial", event_json, t.planned.number);
  transaction.commit();
}

void Store::add_event(const std::string& run, const std::string& kind, const std::string& json) {
  const std::scoped_lock lock(writing_);
  Statement event(*writer_, kInsertEvent);
  insert_event(event, run, kind, json, 0);
}

void Store::set_plan(const std::string& run, const std::vector<bench::BackendInfo>& backends,
                     const std::vector<bench::PlannedTrial>& plan) {
  std::map<std::string, int> planned;
  for (const bench::PlannedTrial& trial : plan) ++planned[trial.backend];
  boost::json::object data;
  data["run"] = run;
  data["total"] = plan.size();
  boost::json::array list = to_json(backends);
  for (boost::json::value& backend : list) backend.as_object()["planned"] = planned[text_at(backend, "name")];
  data["backends"] = std::move(list);
  const std::scoped_lock lock(writing_);
  Transaction transaction(*writer_);
  Statement update(*writer_, "UPDATE runs SET backends=?, planned=? WHERE id=?");
  update.bind(boost::json::serialize(to_json(backends))).bind(static_cast<std::int64_t>(plan.size())).bind(run).finish();
  Statement event(*writer_, kInsertEvent);
  insert_event(event, run, "run", boost::json::serialize(data), 0);
  transaction.commit();
}

void Store::set_result(const std::string& run, const std::string& result_json, const std::string& report) {
  const std::scoped_lock lock(writing_);
  Transaction transaction(*writer_);
  Statement update(*writer_, "UPDATE runs SET result=?, report=? WHERE id=?");
  update.bind(result_json).bind(report).bind(run).finish();
  Statement event(*writer_, kInsertEvent);
  insert_event(event, run, "result", "{}", 0);
  transaction.commit();
}

void Store::end_run(const bench::RunRecord& record, const std::string& state, const std::string& sentence) {
  const std::scoped_lock lock(writing_);
  boost::json::array warnings;
  for (const std::string& warning : record.warnings) warnings.emplace_back(warning);
  Transaction transaction(*writer_);
  Statement update(*writer_,
                   "UPDATE runs SET state=?, sentence=?, finished_at=?, wall_seconds=?, backends=?, warnings=?, agent_cost=? WHERE id=?");
  update.bind(state).bind(sentence).bind(static_cast<double>(std::time(nullptr))).bind(record.wall_seconds);
  update.bind(boost::json::serialize(to_json(record.backends))).bind(boost::json::serialize(warnings));
  update.bind(boost::json::serialize(to_json(record.agent_cost))).bind(record.id).finish();
  Statement event(*writer_, kInsertEvent);
  boost::json::object data;
  data["state"] = state;
  data["sentence"] = sentence;
  insert_event(event, record.id, "finished", boost::json::serialize(data), 0);
  transaction.commit();
}

std::vector<std::string> Store::mark_interrupted() {
  const std::scoped_lock lock(writing_);
  std::vector<std::string> ids;
  Transaction transaction(*writer_);
  Statement running(*writer_, "SELECT id, owner FROM runs WHERE state='running'");
  while (running.next()) {
    const std::string owner = running.text(1);
    if (owner.empty() || process_identity(owner.substr(0, owner.find(' '))) != owner) ids.push_back(running.text(0));
  }
  running.reset();
  for (const std::string& id : ids) {
    Statement update(*writer_, "UPDATE runs SET state='interrupted', sentence='the agent ended in mid-run' WHERE id=?");
    update.bind(id).finish();
    Statement event(*writer_, kInsertEvent);
    insert_event(event, id, "finished", R"({"state":"interrupted","sentence":"the agent ended in mid-run"})", 0);
  }
  transaction.commit();
  return ids;
}

void Store::checkpoint() {
  const std::scoped_lock lock(writing_);
  writer_->run("PRAGMA wal_checkpoint(PASSIVE)");
}

}  // namespace tare::agent
