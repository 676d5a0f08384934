// SPDX-License-Identifier: Apache-2.0
// `tare bench`: sends a suite to the agent, follows its events, writes the results as they come and prints the comparison.
#include <unistd.h>

#include <csignal>
#include <map>
#include <set>
#include <sstream>

#include "agent/cli/bench_files.h"
#include "agent/cli/progress.h"
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"
#include "agent/wire.h"
#include "bench/sample.h"
#include "bench/suite.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent::cli {
namespace {

namespace json = boost::json;

constexpr int kNotTrustworthy = 5;  // README, "exit code": no Error has it, since nothing failed

class Follower {
 public:
  Follower(const Client& client, const Options& options, std::string run)
      : client_(client),
        run_(std::move(run)),
        files_(options.results, run_),
        progress_(is_terminal(STDERR_FILENO), wants_colour(STDERR_FILENO), options.quiet) {}

  /// False when it was the last one.
  bool take(const SseParser::Message& message) {
    if (message.event == "run") run_event(parse_json(message.data));
    if (message.event == "progress") progress_event(parse_json(message.data));
    if (message.event == "trial") trial_event(message.data);
    if (message.event == "warning") progress_.say("! " + text_at(parse_json(message.data), "sentence"));
    if (message.event == "result") fetch_result(client_);
    if (message.event != "finished" && message.event != "lost") return true;
    const json::value data = parse_json(message.data);
    state_ = text_at(data, message.event == "finished" ? "state" : "finished");
    sentence_ = text_at(data, "sentence");
    return false;
  }

  void fetch_result(const Client& client) {
    try {
      files_.write("result.json", client.get(base() + "/result"));
      files_.write("report.md", client.get(base() + "/result?format=markdown"));
    } catch (const Error& e) {
      progress_.say("tare: the result is not there: " + e.sentence());
    }
  }

  /// The samples as the store has them: more than what was streamed, when the stream broke.
  void fetch_samples(const Client& client) {
    try {
      files_.write("samples.csv", client.get(base() + "/samples"));
    } catch (const Error& e) {
      progress_.say("tare: the last samples are not there: " + e.sentence());
    }
  }

  std::string base() const { return "/tare/v1/runs/" + percent_encoded(run_); }
  const std::string& run() const { return run_; }
  const std::string& state() const { return state_; }
  const std::string& sentence() const { return sentence_; }
  bool any_able() const { return any_able_; }
  bool all_able() const { return all_able_; }
  /// The backends that were measured and of which not one trial is valid.
  std::vector<std::string> untrustworthy() const {
    std::vector<std::string> out;
    for (const auto& [backend, trials] : tally_) {
      if (trials.invalid > 0 && trials.others == 0) out.push_back(backend);
    }
    return out;
  }
  const ResultFiles& files() const { return files_; }
  Progress& progress() { return progress_; }

 private:
  void run_event(const json::value& data) {
    any_able_ = false;
    all_able_ = true;
    for (const json::value& backend : data.at("backends").as_array()) {
      const std::string name = text_at(backend, "name");
      if (!backend.at("able").as_bool()) {  // the runner warns of it, with its reason
        all_able_ = false;
        continue;
      }
      any_able_ = true;
      progress_.add_backend(name, static_cast<int>(number_at(backend, "planned")), backend.at("emulated").as_bool());
    }
  }

  void progress_event(const json::value& data) {
    const std::string probing = text_at(data, "probing");
    const std::string preparing = text_at(data, "preparing");
    if (!probing.empty()) {
      progress_.say("looking at what " + probing + " can do here");
    } else {
      progress_.trial_started(text_at(data, "backend"), preparing.empty() ? text_at(data, "experiment") : "preparing " + preparing);
    }
  }

  // The JSON of the trial in the first line, then its samples as lines of samples.csv.
  void trial_event(const std::string& text) {
    const std::size_t head = text.find('\n');
    const json::value trial = parse_json(text.substr(0, head));
    const std::string lines = head == std::string::npos ? "" : text.substr(head + 1) + "\n";
    files_.append_samples(lines);
    const std::string state = text_at(trial, "state");
    const bool good = !state.starts_with("failed") && !state.starts_with("invalid");
    if (!good) say_failure(trial);
    const std::string backend = text_at(trial, "backend");
    const bool counted = number_at(trial, "block") > 0;
    if (counted) ++(state.starts_with("invalid") ? tally_[backend].invalid : tally_[backend].others);
    progress_.trial_finished(backend, counted && !trial.at("empty").as_bool(), good, start_of(lines));
  }

  // Each cause once: forty trials that fail alike are one piece of news.
  void say_failure(const json::value& trial) {
    const std::string hint = text_at(trial, "hint");
    const std::string text = text_at(trial, "backend") + ": " + text_at(trial, "sentence") + (hint.empty() ? "" : " (" + hint + ")");
    if (said_.insert(text).second) progress_.say("✗ " + text);
  }

  static std::optional<double> start_of(const std::string& lines) {
    std::optional<double> executed;
    std::istringstream in(lines);
    for (std::string line; std::getline(in, line);) {
      if (line.find("mark.") == std::string::npos) continue;
      const bench::Sample sample = bench::parse_csv_line(line);
      if (sample.metric == "mark.ready") return sample.value;
      if (sample.metric == "mark.executed") executed = sample.value;
    }
    return executed;
  }

  const Client& client_;
  const std::string run_;
  ResultFiles files_;
  Progress progress_;
  struct Tally {
    int invalid = 0;
    int others = 0;
  };
  std::map<std::string, Tally> tally_;  // of the measured trials of each backend
  std::set<std::string> said_;
  std::string state_;
  std::string sentence_;
  bool any_able_ = true;
  bool all_able_ = true;
};

std::string start_target(const Options& options, const std::string& file) {
  std::string target = "/tare/v1/runs?lease=1&file=" + percent_encoded(file);
  if (options.seed) target += "&seed=" + std::to_string(*options.seed);
  std::string list;
  for (const std::string& backend : options.backends) list += (list.empty() ? "" : ",") + backend;
  if (!list.empty()) target += "&backends=" + percent_encoded(list);
  return target;
}

void print_result(const Client& client, const Options& options, const Follower& follower) {
  if (options.json) {
    print(client.get(follower.base() + "/result"));
    return;
  }
  const std::string colour = wants_colour(STDOUT_FILENO) ? "1" : "0";
  print(client.get(follower.base() + "/result?format=table&width=" + std::to_string(terminal_width(STDOUT_FILENO)) + "&colour=" + colour));
}

// The agent is dead in mid-run. A fresh one marks the run as interrupted, removes what was left on the host, and still has every sample.
int rescue(const Options& options, AgentSession& session, Follower& follower, const Interrupt& interrupt) {
  follower.progress().end();
  session.await_end();
  note("tare: the agent ended in mid-run; what was measured is kept in " + follower.files().directory().string());
  try {
    const AgentSession fresh(Paths::from_environment(), options.config);
    follower.fetch_samples(fresh.client());
    follower.fetch_result(fresh.client());
  } catch (const Error& e) {
    note(std::string("tare: clean-up after it failed: ") + e.what());
  }
  return interrupt.first() != 0 ? 128 + interrupt.first() : exit_code(Code::failed);
}

int verdict(const Follower& follower, const Interrupt& interrupt) {
  if (interrupt.first() != 0) return 128 + interrupt.first();
  if (follower.state() == "ok" && !follower.files().intact()) return exit_code(Code::exhausted);
  // The rest was measured; that a backend of the suite is missing must not look like a whole result.
  if (follower.state() == "ok" && !follower.all_able()) return exit_code(Code::unsuited);
  if (follower.state() == "ok") {
    const auto untrustworthy = follower.untrustworthy();
    for (const std::string& backend : untrustworthy) note("tare: " + backend + ": not one of its trials is valid; report.md says why");
    return untrustworthy.empty() ? 0 : kNotTrustworthy;
  }
  if (follower.state() == "canceled") return exit_code(Code::canceled);
  return follower.any_able() ? exit_code(Code::failed) : exit_code(Code::unsuited);
}

}  // namespace

int bench(const Options& options, const MakeBackends&) {
  const auto file = suite_file(options.suite);
  const std::string yaml = read_file(file);
  tare::bench::load_suite(yaml, file.string());  // wrong suites are refused before anything is started
  check_results_directory(options.results);
  AgentSession session(Paths::from_environment(), options.config);
  const Client& client = session.client();
  Interrupt interrupt;
  const Client::Held lease = client.request_and_hold("POST", start_target(options, file.string()), yaml);
  Follower follower(client, options, text_at(parse_json(lease.body), "id"));
  const auto on_interrupt = [&] {
    if (interrupt.count() > 1) {
      session.abandon();
      ::_exit(128 + interrupt.first());  // the lease ends with us: the agent cancels and cleans up alone
    }
    follower.progress().say("stopping after the clean-up of this trial; once more to leave at once");
    try {
      client.request("DELETE", follower.base());
    } catch (const Error& e) {  // it ended in between, or the agent did: the events tell which
      follower.progress().say("tare: " + e.sentence());
    }
  };
  try {
    client.events(
        follower.base() + "/events", interrupt, [&](const SseParser::Message& m) { return follower.take(m); }, on_interrupt);
  } catch (const AgentGone&) {
    return rescue(options, session, follower, interrupt);
  }
  follower.progress().end();
  if (!follower.sentence().empty()) note("tare: run " + follower.run() + ": " + follower.sentence());
  try {
    follower.fetch_result(client);
    print_result(client, options, follower);
  } catch (const Error& e) {
    note("tare: " + std::string(e.what()));
  }
  if (follower.files().intact()) note("results are in " + follower.files().directory().string());
  return verdict(follower, interrupt);
}

}  // namespace tare::agent::cli
