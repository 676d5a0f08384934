// SPDX-License-Identifier: Apache-2.0
// What a user waits for at ./dev bench once all is set up: the first number of the quickstart, its end, and what a call spends outside its
// trials. Each is one call, as the quickstart takes minutes: -n changes nothing here.
#include <fcntl.h>

#include <array>
#include <boost/json.hpp>
#include <csignal>
#include <memory>

#include "agent/client.h"
#include "core/error.h"
#include "core/process.h"
#include "tests/perf/perf.h"

namespace tare {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr double kFirstNumber = 60, kOutsideTrials = 5, kQuickstart = 300;  // seconds
constexpr int kUnsuited = 3;                                                // exit code: a backend cannot run here

struct Call {
  std::optional<double> first_number;  // seconds from the start of the call
  double whole = 0;
  Exit exit;
  std::string last_line;
};

double seconds_since(Instant begin) { return std::chrono::duration<double>(Instant::now() - begin).count(); }

// A line of progress that tells a measured time: "metal     3/5 ✓ start 2.82 ms".
bool tells_number(const std::string& line) { return line.find("✓ start ") != std::string::npos; }

// To its end, or to the first number when `until_first_number`: then it is interrupted.
Call call(std::vector<std::string> command, const fs::path& results, bool until_first_number) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw_errno("make a pipe");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> lines(::fdopen(pipe[0], "r"), std::fclose);
  Fd far(pipe[1]);
  Child::Options options;
  options.argv = std::move(command);
  options.argv.insert(options.argv.end(), {"--results", results.string()});
  options.stderr_fd = far.get();
  options.die_with_parent = true;
  Call out;
  const Instant begin = Instant::now();
  Child child = Child::spawn(options);
  far.reset();
  std::array<char, 4096> line{};
  while (std::fgets(line.data(), line.size(), lines.get()) != nullptr) {
    out.last_line = line.data();
    if (out.first_number || !tells_number(out.last_line)) continue;
    out.first_number = seconds_since(begin);
    if (until_first_number) child.signal(SIGINT);
  }
  const auto exit = child.wait(Deadline::in(60s));
  out.whole = seconds_since(begin);
  if (!exit) throw Error(Code::timeout, "tare bench did not end");
  out.exit = *exit;
  return out;
}

// The seconds of all trials of the run whose results are in `results`, as its events tell them.
double seconds_in_trials(const fs::path& results) {
  std::string run;
  for (const auto& entry : fs::directory_iterator(results)) run = entry.path().filename();
  const TempDir directory;
  Child::Options options;
  options.argv = {TARE_BINARY_DIR "/bin/tare", "agent"};
  options.extra_environment = {"TARE_RUN_DIR=" + directory.path().string()};
  options.die_with_parent = true;
  Child agent = Child::spawn(options);
  const agent::Client client(directory.path() / "tare.sock");
  const Deadline deadline = Deadline::in(30s);
  while (!client.answers()) {
    if (deadline.passed()) throw Error(Code::timeout, "the agent did not get ready");
    std::this_thread::sleep_for(10ms);
  }
  double sum = 0;
  agent::Interrupt interrupt;
  const auto add = [&](const agent::SseParser::Message& message) {
    // A trial's own line; those of its samples follow it.
    const std::string first = message.data.substr(0, message.data.find('\n'));
    if (message.event == "trial") sum += boost::json::parse(first).at("seconds").to_number<double>();
    return message.event != "finished";
  };
  client.events("/tare/v1/runs/" + run + "/events", interrupt, add, [] {});
  agent.signal(SIGTERM);
  agent.wait(Deadline::in(30s));
  return sum;
}

void quickstart(perf::Report& report) {
  const TempDir directory("/var/tmp");
  const bool whole = report.wants("bench.quickstart");
  const std::vector<std::string> command = {TARE_BINARY_DIR "/bin/tare", "bench", TARE_SOURCE_DIR "/configs/suites/quickstart.yaml"};
  const Call done = call(command, directory.path() / "results", !whole);
  if (done.first_number) {
    report.limit("bench.first_number", *done.first_number, kFirstNumber, "s");
  } else {
    report.failed("bench.first_number", "no line told a number: " + done.last_line);
  }
  if (!whole) return;
  if (done.exit == Exit{kUnsuited, false, false}) {
    report.missing("bench.quickstart", "a backend cannot run here, and its part is to be timed too");
  } else if (!done.exit.ok()) {
    report.failed("bench.quickstart", text_of(done.exit) + ": " + done.last_line);
  } else {
    report.limit("bench.quickstart", done.whole, kQuickstart, "s");
  }
}

// With ./dev, whose look at what is set up is part of every call.
void outside_trials(perf::Report& report) {
  const TempDir directory("/var/tmp");
  const fs::path results = directory.path() / "results";
  const Call done = call({TARE_SOURCE_DIR "/dev", "bench", "smoke"}, results, false);
  if (!done.exit.ok() && done.exit != Exit{kUnsuited, false, false}) {
    return report.failed("bench.outside_trials", text_of(done.exit) + ": " + done.last_line);
  }
  report.limit("bench.outside_trials", done.whole - seconds_in_trials(results), kOutsideTrials, "s");
}

int run(perf::Report& report) {
  if (report.wants("bench.outside_trials")) outside_trials(report);
  if (report.wants("bench.first_number") || report.wants("bench.quickstart")) quickstart(report);
  return report.finish();
}

}  // namespace
}  // namespace tare

int main(int count, char** arguments) { return tare::perf::run_program(count, arguments, "perf_bench", tare::run); }
