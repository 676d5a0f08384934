// SPDX-License-Identifier: Apache-2.0
// The reading half of the store, on its own connection: a reader never waits for the writer.
#include <map>

#include "agent/sqlite.h"
#include "agent/store.h"
#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent {
namespace {

constexpr const char* kSummary =
    "SELECT id, suite_name, state, sentence, started_at, wall_seconds, finished_at, seed, planned, "
    "(SELECT count(*) FROM trials WHERE trials.run=runs.id) FROM runs ";

RunSummary summary_of(const Statement& row) {
  RunSummary out;
  out.id = row.text(0);
  out.suite = row.text(1);
  out.state = row.text(2);
  out.sentence = row.text(3);
  out.started_at = row.text(4);
  out.wall_seconds = row.real(5);
  out.finished_at = row.real(6);
  out.seed = static_cast<std::uint64_t>(row.number(7));
  out.planned = row.small(8);
  out.completed = row.small(9);
  return out;
}

boost::json::value json_or_null(const Statement& row, int column) {
  return row.null(column) ? boost::json::value() : parse_json(row.text(column));
}

bench::Outcome outcome_of(const std::string& state) {
  if (state == "ok") return bench::Outcome::ok;
  return state == "failed" ? bench::Outcome::failed : bench::Outcome::canceled;
}

std::vector<bench::TrialRecord> trials_of(Connection& connection, const std::string& run) {
  std::vector<bench::TrialRecord> out;
  Statement rows(connection,
                 "SELECT number, block, experiment_index, empty, backend, experiment, workload, variant, state, sentence, hint, seconds "
                 "FROM trials WHERE run=? ORDER BY number");
  rows.bind(run);
  while (rows.next()) {
    bench::TrialRecord t;
    t.planned.number = rows.small(0);
    t.planned.block = rows.small(1);
    t.planned.experiment = static_cast<std::size_t>(rows.number(2));
    t.planned.empty = rows.small(3) != 0;
    t.planned.backend = rows.text(4);
    t.experiment = rows.text(5);
    t.workload = rows.text(6);
    t.variant = rows.text(7);
    t.state = rows.text(8);
    t.sentence = rows.text(9);
    t.hint = rows.text(10);
    t.seconds = rows.real(11).value_or(0);
    out.push_back(std::move(t));
  }
  return out;
}

}  // namespace

std::vector<RunSummary> Store::runs(int limit) const {
  const std::scoped_lock lock(reading_);
  std::vector<RunSummary> out;
  Statement rows(*reader_, std::string(kSummary) + "ORDER BY started_at DESC, rowid DESC LIMIT ?");
  rows.bind(limit);
  while (rows.next()) out.push_back(summary_of(rows));
  return out;
}

std::optional<RunSummary> Store::find(const std::string& id) const {
  const std::scoped_lock lock(reading_);
  Statement rows(*reader_, std::string(kSummary) + "WHERE id=?");
  rows.bind(id);
  if (!rows.next()) return std::nullopt;
  return summary_of(rows);
}

std::vector<bench::Sample> Store::samples(const std::string& run, std::optional<int> trial) const {
  const std::scoped_lock lock(reading_);
  std::vector<bench::Sample> out;
  Statement rows(*reader_,
                 "SELECT block, trial, backend, variant, workload, experiment, metric, unit, value, state FROM samples "
                 "WHERE run=?1 AND (?2=0 OR trial=?2) ORDER BY trial, place");
  rows.bind(run).bind(trial.value_or(0));
  while (rows.next()) {
    out.push_back({run, rows.small(0), rows.small(1), rows.text(2), rows.text(3), rows.text(4), rows.text(5), rows.text(6), rows.text(7),
                   rows.real(8), rows.text(9)});
  }
  return out;
}

std::vector<StoredEvent> Store::events(const std::string& run, std::int64_t after, int limit) const {
  const std::scoped_lock lock(reading_);
  std::vector<StoredEvent> out;
  Statement rows(*reader_, "SELECT id, kind, data, trial FROM events WHERE run=? AND id>? ORDER BY id LIMIT ?");
  rows.bind(run).bind(after).bind(limit);
  while (rows.next()) out.push_back({rows.number(0), rows.text(1), rows.text(2), rows.small(3)});
  return out;
}

std::optional<std::string> Store::result(const std::string& run) const {
  const std::scoped_lock lock(reading_);
  Statement rows(*reader_, "SELECT result FROM runs WHERE id=? AND result IS NOT NULL");
  rows.bind(run);
  if (!rows.next()) return std::nullopt;
  return rows.text(0);
}

std::optional<std::string> Store::report(const std::string& run) const {
  const std::scoped_lock lock(reading_);
  Statement rows(*reader_, "SELECT report FROM runs WHERE id=? AND report IS NOT NULL");
  rows.bind(run);
  if (!rows.next()) return std::nullopt;
  return rows.text(0);
}

Store::Loaded Store::load(const std::string& run) const {
  Loaded out;
  {
    const std::scoped_lock lock(reading_);
    Statement row(
        *reader_,
        "SELECT suite_name, suite, state, seed, started_at, wall_seconds, host, backends, warnings, agent_cost FROM runs WHERE id=?");
    row.bind(run);
    if (!row.next()) throw Error(Code::not_found, "there is no run '" + run + "'", "`tare runs` lists them");
    out.suite = bench::load_suite(row.text(1), row.text(0) + ".yaml");
    out.state = row.text(2);
    out.record.id = run;
    out.record.seed = static_cast<std::uint64_t>(row.number(3));
    out.record.outcome = outcome_of(out.state);
    out.record.started_at = row.text(4);
    out.record.wall_seconds = row.real(5).value_or(0);
    out.host = host_from(json_or_null(row, 6));
    out.record.backends = backends_from(json_or_null(row, 7));
    const boost::json::value warnings = json_or_null(row, 8);
    if (warnings.is_array()) {
      for (const boost::json::value& warning : warnings.as_array()) out.record.warnings.emplace_back(warning.as_string());
    }
    out.record.agent_cost = cost_from(json_or_null(row, 9));
    out.record.trials = trials_of(*reader_, run);
  }
  std::map<int, std::size_t> place;
  for (std::size_t i = 0; i < out.record.trials.size(); ++i) place[out.record.trials[i].planned.number] = i;
  for (bench::Sample& sample : samples(run)) {
    const auto found = place.find(sample.trial);
    if (found != place.end()) out.record.trials[found->second].samples.push_back(std::move(sample));
  }
  return out;
}

std::optional<std::string> Store::last_finished() const {
  const std::scoped_lock lock(reading_);
  Statement rows(*reader_,
                 "SELECT id FROM runs WHERE state<>'running' AND EXISTS (SELECT 1 FROM samples WHERE samples.run=runs.id) "
                 "ORDER BY started_at DESC, rowid DESC LIMIT 1");
  if (!rows.next()) return std::nullopt;
  return rows.text(0);
}

}  // namespace tare::agent
