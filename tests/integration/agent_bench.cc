// SPDX-License-Identifier: Apache-2.0
// The verbs, with the private agent that each starts when none runs.
#include <sstream>

#include "agent/sqlite.h"
#include "agent_fixture.h"
#include "bench/sample.h"

namespace tare::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class AgentVerbs : public AgentTest {
 protected:
  /// `tare bench` of a suite that lasts longer than any test, when it has begun to measure.
  Child begin_bench(const fs::path& results, const fs::path& errors) const {
    const Fd err = open_file(errors, O_RDWR | O_CREAT);
    Child bench = spawn({"bench", write("s.yaml", suite(10000)).string(), "--results", results.string()}, -1, err.get());
    const Deadline deadline = Deadline::in(seconds(20));
    while (read_file(errors).find(" start ") == std::string::npos && !deadline.passed()) std::this_thread::sleep_for(milliseconds(10));
    EXPECT_FALSE(deadline.passed()) << read_file(errors);
    return bench;
  }
  int runs_ = 0;
};

TEST_F(AgentVerbs, BenchWithoutAnAgentWritesTheResultsAndLeavesNoProcess) {
  const fs::path results = dir_.path() / "results";
  const Ended ended = tare({"bench", write("s.yaml", suite(7)).string(), "--results", results.string(), "--seed", "5"});
  EXPECT_EQ(ended.exit.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("metal"), HasSubstr("container"), HasSubstr("vm")));
  EXPECT_THAT(ended.err, AllOf(HasSubstr("metal"), HasSubstr("7/7"), Not(HasSubstr("\033"))));
  ASSERT_EQ(std::distance(fs::directory_iterator(results), fs::directory_iterator()), 1);
  const fs::path run = fs::directory_iterator(results)->path();
  EXPECT_THAT(read_file(run / "result.json"), HasSubstr("\"schema\""));
  EXPECT_THAT(read_file(run / "report.md"), HasSubstr("metal"));
  const Ended shown = tare({"show", "last", "--csv"});
  EXPECT_EQ(shown.out, read_file(run / "samples.csv"));
  EXPECT_TRUE(fs::is_empty(dir_.path() / "run"));  // the private agents have gone, and their sockets
  EXPECT_THAT(tare({"runs"}).out, AllOf(HasSubstr(run.filename().string()), HasSubstr("21/21")));
}

TEST_F(AgentVerbs, ExplainSaysWhereTheTimeOfAStartGoes) {
  EXPECT_THAT(tare({"explain", "last"}).err, HasSubstr("there is no run yet"));
  EXPECT_EQ(tare({"bench", write("s.yaml", suite(3)).string(), "--results", (dir_.path() / "r").string()}).exit.code, 0);
  const Ended words = tare({"explain", "last"});
  EXPECT_EQ(words.exit.code, 0) << words.err;
  EXPECT_THAT(words.out, AllOf(HasSubstr("start: cold"), HasSubstr("median of 3 trials"), HasSubstr("  launch ")));
  EXPECT_THAT(tare({"explain", "last", "--json"}).out, AllOf(HasSubstr("\"phases\""), HasSubstr("\"share\"")));
  EXPECT_EQ(tare({"explain"}).exit.code, 2);
}

TEST_F(AgentVerbs, AFailedWorkloadIsAResultWithItsReasonAndExitCodeOne) {
  const Ended ended =
      tare({"bench", write("s.yaml", suite(2, "noop", "no/such-image")).string(), "--results", (dir_.path() / "r").string()});
  EXPECT_EQ(ended.exit.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("image 'no/such-image' is not there"));
}

TEST_F(AgentVerbs, ASeedRepeatsAnOrderAndAnotherOneDoesNot) {
  const std::string file = write("s.yaml", suite(5)).string();
  const auto order = [&](const std::string& seed) {
    const fs::path results = dir_.path() / ("r" + std::to_string(runs_++));
    EXPECT_EQ(tare({"bench", file, "--results", results.string(), "--seed", seed}).exit.code, 0);
    std::vector<std::string> out;
    std::istringstream lines(read_file(fs::directory_iterator(results)->path() / "samples.csv"));
    std::string line;
    for (std::getline(lines, line); std::getline(lines, line);) {
      const bench::Sample sample = bench::parse_csv_line(line);
      std::string trial = std::to_string(sample.trial) + " " + sample.backend + " " + sample.workload;
      if (out.empty() || out.back() != trial) out.push_back(std::move(trial));
    }
    EXPECT_EQ(out.size(), 15U);
    return out;
  };
  const auto first = order("5");
  EXPECT_EQ(order("5"), first);
  EXPECT_NE(order("6"), first);
}

TEST_F(AgentVerbs, ABackendWithoutOneValidTrialMakesExitCodeFive) {
  const fs::path results = dir_.path() / "results";
  const Ended ended = tare({"bench", write("s.yaml", suite(2, "disorder")).string(), "--results", results.string()});
  EXPECT_EQ(ended.exit.code, 5) << ended.err;
  EXPECT_THAT(ended.err, AllOf(HasSubstr("marks are out of order"), HasSubstr("vm: not one of its trials is valid"),
                               Not(HasSubstr("metal: not one"))));
  EXPECT_THAT(read_file(fs::directory_iterator(results)->path() / "samples.csv"), HasSubstr("invalid:disorder"));
}

TEST_F(AgentVerbs, AnInterruptOrATermStopsTheRunAndKeepsWhatIsThere) {
  trial_ms_ = 20;
  for (const int number : {SIGINT, SIGTERM}) {
    const fs::path err = dir_.path() / ("bench.err" + std::to_string(number));
    const fs::path results = dir_.path() / ("results" + std::to_string(number));
    Child bench = begin_bench(results, err);
    bench.signal(number);
    const auto exit = bench.wait(Deadline::in(seconds(30)));
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->status(), 128 + number);
    const fs::path run = fs::directory_iterator(results)->path();
    EXPECT_THAT(read_file(run / "samples.csv"), HasSubstr("mark.ready"));
    EXPECT_THAT(read_file(run / "result.json"), HasSubstr("mark.ready"));
    EXPECT_THAT(tare({"runs"}).out, HasSubstr(run.filename().string()));
    EXPECT_THAT(tare({"runs"}).out, AllOf(HasSubstr("canceled"), Not(HasSubstr(" running "))));
  }
}

// The verb sleeps while its run ends, and wakes with the signal and the end before it.
TEST_F(AgentVerbs, AnInterruptAfterTheEndOfTheRunIsAnInterruptWithItsTable) {
  trial_ms_ = 20;
  start_agent();
  const fs::path err = dir_.path() / "bench.err";
  const fs::path out = dir_.path() / "bench.out";
  const Fd err_fd = open_file(err, O_RDWR | O_CREAT);
  const Fd out_fd = open_file(out, O_RDWR | O_CREAT);
  Child bench =
      spawn({"bench", write("s.yaml", suite(40)).string(), "--results", (dir_.path() / "r").string()}, out_fd.get(), err_fd.get());
  const Deadline deadline = Deadline::in(seconds(20));
  while (read_file(err).find(" start ") == std::string::npos) ASSERT_FALSE(deadline.passed()) << read_file(err);
  bench.signal(SIGSTOP);
  ASSERT_TRUE(wait_for_end(fs::directory_iterator(dir_.path() / "r")->path().filename()));
  bench.signal(SIGINT);
  bench.signal(SIGCONT);
  const auto exit = bench.wait(Deadline::in(seconds(30)));
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->status(), 130) << read_file(err);
  EXPECT_THAT(read_file(err), HasSubstr("has ended (ok)"));
  EXPECT_THAT(read_file(out), HasSubstr("metal"));
}

TEST_F(AgentVerbs, AnInterruptAfterTheDeathOfTheAgentIsAnInterruptWithAllSamples) {
  trial_ms_ = 20;
  start_agent();
  const fs::path results = dir_.path() / "results";
  const fs::path err = dir_.path() / "bench.err";
  Child bench = begin_bench(results, err);
  const fs::path run = fs::directory_iterator(results)->path();
  bench.signal(SIGSTOP);
  kill_agent();
  bench.signal(SIGINT);
  bench.signal(SIGCONT);
  const auto exit = bench.wait(Deadline::in(seconds(60)));
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->status(), 130) << read_file(err);
  EXPECT_THAT(read_file(err), HasSubstr("the agent ended in mid-run"));
  EXPECT_TRUE(fs::exists(run / "result.json"));
}

// More is measured than the sleeping verb's socket holds, so the end of the stream is lost with the agent.
TEST_F(AgentVerbs, SamplesThatWereNotStreamedBeforeTheAgentDiedAreFetched) {
  trial_ms_ = 0.1;
  start_agent();
  const fs::path results = dir_.path() / "results";
  Child bench = begin_bench(results, dir_.path() / "bench.err");
  const fs::path run = fs::directory_iterator(results)->path();
  bench.signal(SIGSTOP);
  const std::uint64_t streamed = fs::file_size(run / "samples.csv");
  const Deadline deadline = Deadline::in(seconds(60));
  while (client().get("/tare/v1/runs/" + run.filename().string() + "/samples").size() < streamed + (600U << 10)) {
    ASSERT_FALSE(deadline.passed());
    std::this_thread::sleep_for(milliseconds(100));
  }
  kill_agent();
  bench.signal(SIGCONT);
  const auto exit = bench.wait(Deadline::in(seconds(60)));
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->code, 1);
  EXPECT_TRUE(tare({"show", run.filename().string(), "--csv"}).out == read_file(run / "samples.csv"));
}

TEST_F(AgentVerbs, APrivateAgentThatCannotStartLeavesNoDirectory) {
  const std::string config = write("agent.yaml", "log_level: loud\n").string();
  const Ended ended = tare({"bench", write("s.yaml", suite(2)).string(), "--config", config, "--results", (dir_.path() / "r").string()});
  EXPECT_NE(ended.exit.code, 0);
  EXPECT_THAT(ended.err, HasSubstr("the private agent ended at once"));
  EXPECT_TRUE(fs::is_empty(dir_.path() / "run"));
}

TEST_F(AgentVerbs, AnAgentThatDoesNotAnswerIsATimeout) {
  start_agent();
  agent_->signal(SIGSTOP);
  const Ended ended = tare({"runs"});
  agent_->signal(SIGCONT);
  EXPECT_EQ(ended.exit.code, 124);
  EXPECT_THAT(ended.err, HasSubstr("did not answer GET /healthz in time"));
}

// The private agent of each `tare runs` opens the database that the other agent writes.
TEST_F(AgentVerbs, RunsAndShowGoOnWhileAnotherAgentMeasuresAndHarmNothing) {
  trial_ms_ = 2;
  const fs::path results = dir_.path() / "results";
  Child bench = begin_bench(results, dir_.path() / "bench.err");
  for (int i = 0; i < 50; ++i) {
    const Ended listed = tare({"runs"});
    ASSERT_EQ(listed.exit.code, 0) << listed.err;
    ASSERT_THAT(listed.out, HasSubstr(" running ")) << "call " << i;
  }
  EXPECT_THAT(tare({"show", "last"}).out, HasSubstr("metal"));
  const Ended refused = tare({"bench", (dir_.path() / "s.yaml").string(), "--results", results.string()});
  EXPECT_EQ(refused.exit.code, 1);
  EXPECT_THAT(refused.err, HasSubstr(" is active; two at once would measure each other"));
  bench.signal(SIGINT);
  const auto exit = bench.wait(Deadline::in(seconds(30)));
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->status(), 130) << read_file(dir_.path() / "bench.err");
  const fs::path run = fs::directory_iterator(results)->path();
  EXPECT_EQ(tare({"show", "last", "--csv"}).out, read_file(run / "samples.csv"));
  agent::Connection database(dir_.path() / "state" / "tare.db", true);
  agent::Statement check(database, "PRAGMA integrity_check");
  ASSERT_TRUE(check.next());
  EXPECT_EQ(check.text(0), "ok");
}

TEST_F(AgentVerbs, WrongCommandLinesSayWhatWasMeantAndExitWithTwo) {
  const auto wrong = [&](const std::vector<std::string>& arguments, const std::string& expected) {
    const Ended ended = tare(arguments);
    EXPECT_EQ(ended.exit.code, 2) << expected;
    EXPECT_THAT(ended.err, HasSubstr(expected));
    EXPECT_EQ(ended.out, "");
  };
  wrong({"benhc", "x"}, "did you mean 'bench'?");
  wrong({"bench", "x.yaml", "--sed", "3"}, "did you mean '--seed'?");
  wrong({"bench"}, "SUITE");
  wrong({"bench", "x.yaml", "--seed", "many"}, "--seed");
  wrong({"bench", "/no/such.yaml"}, "/no/such.yaml");
  wrong({"show", "20000101T000000-0000"}, "there is no run");
  wrong({}, "no command given");
}

TEST_F(AgentVerbs, AResultsDirectoryThatCannotBeWrittenIsFoundBeforeTheRun) {
  const fs::path file = write("a-file", "");
  const Ended ended = tare({"bench", write("s.yaml", suite(2)).string(), "--results", (file / "results").string()});
  EXPECT_NE(ended.exit.code, 0);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("a-file"), HasSubstr("--results")));
  EXPECT_EQ(tare({"runs"}).out, "");
}

TEST_F(AgentVerbs, DoctorExitsWithZeroWhenEveryBackendCanRun) {
  const Ended ended = tare({"doctor"});
  EXPECT_EQ(ended.exit.code, 0) << ended.out;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("metal can run here"), HasSubstr("vm can run here (fake 2.1), emulated")));
}

TEST_F(AgentVerbs, TheAgentRefusesAConfigurationWithAnUnknownKey) {
  const Ended ended = tare({"agent", "--config", write("agent.yaml", "log_level: info\ntcp_prot: 1\n").string()});
  EXPECT_EQ(ended.exit.code, 2);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("agent.yaml:2"), HasSubstr("did you mean 'tcp_port'?")));
}

}  // namespace
}  // namespace tare::test
