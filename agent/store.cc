// SPDX-License-Identifier: Apache-2.0
#include "agent/store.h"

#include <unistd.h>

#include <ctime>
#include <map>
#include <thread>

#include "agent/sqlite.h"
#include "agent/wire.h"
#include "core/error.h"
#include "core/files.h"
#include "core/process.h"

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

void insert_event(Statement& insert, const std::string& run, const std::string& kind, const std::string& json, int trial) {
  insert.bind(run).bind(kind).bind(json).bind(trial).finish();
}

constexpr const char* kInsertEvent =
    "INSERT INTO events(run,id,kind,data,trial) SELECT ?1, coalesce(max(id),0)+1, ?2, ?3, ?4 FROM events WHERE run=?1";

constexpr auto kMadeWithin = std::chrono::seconds(10);
constexpr auto kTryAgain = std::chrono::milliseconds(5);

std::int64_t schema_of(Connection& connection) {
  Statement version(connection, "PRAGMA user_version");
  version.next();
  return version.number(0);
}

bool is_made(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return false;
  Connection connection(path, true);
  return schema_of(connection) != 0;
}

void make_schema(Connection& connection) {
  Transaction transaction(connection);
  if (schema_of(connection) == 0) {
    connection.run(kSchema);
    connection.run("PRAGMA user_version=" + std::to_string(kSchemaVersion));
  }
  transaction.commit();
}

// The log into the database, and the log's file to nothing; what readers still need of it stays, for the next time.
void empty_log(Connection& connection) { connection.run("PRAGMA wal_checkpoint(TRUNCATE)"); }

}  // namespace

// The right to write, and the connection that does. The lock outlives the connection, whose end may checkpoint.
class Store::Writer {
 public:
  Writer(const std::filesystem::path& path, FileLock lock) : lock_(std::move(lock)), connection_(path, false) {
    connection_.run("PRAGMA journal_mode=WAL");
    connection_.run("PRAGMA synchronous=FULL");
    connection_.run("PRAGMA wal_autocheckpoint=0");
  }
  Connection& connection() { return connection_; }

 private:
  FileLock lock_;
  Connection connection_;
};

std::unique_ptr<Store::Writer> Store::try_writer() const {
  try {
    auto lock = FileLock::try_lock(path_.string() + ".lock");
    return lock ? std::make_unique<Writer>(path_, std::move(*lock)) : nullptr;
  } catch (const Error& e) {
    if (e.code() != Code::unsuited || !e.hint().empty()) throw;
    throw Error(e.code(), e.sentence(), "run as root, or set TARE_STATE_DIR to a directory that you may write");
  }
}

Connection& Store::writer() const {
  if (!writer_) throw Error(Code::internal, "database " + path_.string() + ": written outside a run");
  return writer_->connection();
}

Store::Store(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code ignored;
  std::filesystem::create_directories(path_.parent_path(), ignored);
  // Whoever comes first makes the database. Others wait until it is made, not until the run is over that may follow.
  const Deadline deadline = Deadline::in(kMadeWithin);
  while (!is_made(path_)) {
    if (const auto maker = try_writer()) {
      make_schema(maker->connection());
    } else if (deadline.passed()) {
      throw Error(Code::timeout, "database " + path_.string() + " is being made by another agent, which does not get ready", "try again");
    } else {
      std::this_thread::sleep_for(kTryAgain);
    }
  }
  reader_ = std::make_unique<Connection>(path_, true);
  const auto found = schema_of(*reader_);
  if (found == kSchemaVersion) return;
  throw Error(Code::conflict,
              path_.string() + " has schema " + std::to_string(found) + ", this tare reads " + std::to_string(kSchemaVersion),
              "set TARE_STATE_DIR to another directory, or use the tare that made it");
}

Store::~Store() = default;

void Store::begin_run(const std::string& id, const bench::Suite& suite, const bench::HostContext& host, std::uint64_t seed,
                      std::chrono::nanoseconds patience) {
  const Deadline deadline = Deadline::in(patience);
  auto mine = try_writer();
  for (; !mine && !deadline.passed(); mine = try_writer()) std::this_thread::sleep_for(kTryAgain);
  if (!mine)
    throw Error(Code::conflict, "database " + path_.string() + " is being written by another agent", "wait for the end of its run");
  Transaction transaction(mine->connection());
  Statement insert(mine->connection(),
                   "INSERT INTO runs(id,suite_name,suite,digest,seed,state,owner,planned,started_at,host) "
                   "VALUES(?,?,?,?,?,'running',?,0,?,?)");
  insert.bind(id).bind(suite.name).bind(suite.text).bind(suite.digest).bind(static_cast<std::int64_t>(seed));
  insert.bind(process_identity(::getpid()).value_or("")).bind(utc_now());
  insert.bind(boost::json::serialize(to_json(host))).finish();
  transaction.commit();
  const std::scoped_lock lock(writing_);
  writer_ = std::move(mine);
}

void Store::add_trial(const std::string& run, const bench::TrialRecord& t, const std::string& event_json) {
  const std::scoped_lock lock(writing_);
  Transaction transaction(writer());
  Statement trial(writer(), "INSERT INTO trials VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  trial.bind(run).bind(t.planned.number).bind(t.planned.block).bind(static_cast<std::int64_t>(t.planned.experiment));
  trial.bind(t.planned.empty ? 1 : 0).bind(t.planned.backend).bind(t.experiment).bind(t.workload).bind(t.variant).bind(t.state);
  trial.bind(t.sentence).bind(t.hint).bind(t.seconds).bind(t.raw_output).finish();
  Statement insert(writer(), "INSERT INTO samples VALUES(?,?,?,?,?,?,?,?,?,?,?,?)");
  int place = 0;
  for (const bench::Sample& s : t.samples) {
    insert.bind(run).bind(t.planned.number).bind(place++).bind(s.block).bind(s.backend).bind(s.variant).bind(s.workload);
    insert.bind(s.experiment).bind(s.metric).bind(s.unit).bind(s.value).bind(s.state).finish();
  }
  Statement event(writer(), kInsertEvent);
  insert_event(event, run, "trial", event_json, t.planned.number);
  transaction.commit();
}

void Store::add_event(const std::string& run, const std::string& kind, const std::string& json) {
  const std::scoped_lock lock(writing_);
  Statement event(writer(), kInsertEvent);
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
  Transaction transaction(writer());
  Statement update(writer(), "UPDATE runs SET backends=?, planned=? WHERE id=?");
  update.bind(boost::json::serialize(to_json(backends))).bind(static_cast<std::int64_t>(plan.size())).bind(run).finish();
  Statement event(writer(), kInsertEvent);
  insert_event(event, run, "run", boost::json::serialize(data), 0);
  transaction.commit();
}

void Store::set_result(const std::string& run, const std::string& result_json, const std::string& report) {
  const std::scoped_lock lock(writing_);
  Transaction transaction(writer());
  Statement update(writer(), "UPDATE runs SET result=?, report=? WHERE id=?");
  update.bind(result_json).bind(report).bind(run).finish();
  Statement event(writer(), kInsertEvent);
  insert_event(event, run, "result", "{}", 0);
  transaction.commit();
}

void Store::end_run(const bench::RunRecord& record, const std::string& state, const std::string& sentence) {
  boost::json::array warnings;
  for (const std::string& warning : record.warnings) warnings.emplace_back(warning);
  boost::json::object data;
  data["state"] = state;
  data["sentence"] = sentence;
  const std::scoped_lock lock(writing_);
  if (!writer_) throw Error(Code::internal, "run " + record.id + " is not being written");
  const std::unique_ptr<Writer> last = std::move(writer_);
  Transaction transaction(last->connection());
  Statement update(last->connection(),
                   "UPDATE runs SET state=?, sentence=?, finished_at=?, wall_seconds=?, backends=?, warnings=?, agent_cost=? WHERE id=?");
  update.bind(state).bind(sentence).bind(static_cast<double>(std::time(nullptr))).bind(record.wall_seconds);
  update.bind(boost::json::serialize(to_json(record.backends))).bind(boost::json::serialize(warnings));
  update.bind(boost::json::serialize(to_json(record.agent_cost))).bind(record.id).finish();
  Statement event(last->connection(), kInsertEvent);
  insert_event(event, record.id, "finished", boost::json::serialize(data), 0);
  transaction.commit();
  empty_log(last->connection());
}

std::vector<std::string> Store::mark_interrupted() {
  const std::scoped_lock lock(writing_);
  const std::unique_ptr<Writer> mine = try_writer();
  if (!mine) return {};
  Connection& connection = mine->connection();
  std::vector<std::string> ids;
  Transaction transaction(connection);
  Statement running(connection, "SELECT id, owner FROM runs WHERE state='running'");
  while (running.next()) {
    if (!is_alive(running.text(1))) ids.push_back(running.text(0));
  }
  running.reset();
  for (const std::string& id : ids) {
    Statement update(connection, "UPDATE runs SET state='interrupted', sentence='the agent ended in mid-run' WHERE id=?");
    update.bind(id).finish();
    Statement event(connection, kInsertEvent);
    insert_event(event, id, "finished", R"({"state":"interrupted","sentence":"the agent ended in mid-run"})", 0);
  }
  transaction.commit();
  empty_log(connection);
  return ids;
}

void Store::checkpoint() {
  const std::scoped_lock lock(writing_);
  writer().run("PRAGMA wal_checkpoint(PASSIVE)");
}

}  // namespace tare::agent
