// SPDX-License-Identifier: Apache-2.0
// The verbs, with the private agent that each starts when none runs.
#include "agent/sqlite.h"
#include "agent_fixture.h"

namespace tare::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class AgentVerbs : public AgentTest {};

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

TEST_F(AgentVerbs, AFailedWorkloadIsAResultWithItsReasonAndExitCodeOne) {
  const Ended ended =
      tare({"bench", write("s.yaml", suite(2, "noop", "no/such-image")).string(), "--results", (dir_.path() / "r").string()});
  EXPECT_EQ(ended.exit.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("image 'no/such-image' is not there"));
}

TEST_F(AgentVerbs, AnInterruptStopsTheRunAndKeepsWhatIsThere) {
  trial_ms_ = 20;
  const Fd err = open_file(dir_.path() / "bench.err", O_RDWR | O_CREAT);
  const fs::path results = dir_.path() / "results";
  Child bench = spawn({"bench", write("s.yaml", suite(10000)).string(), "--results", results.string()}, -1, err.get());
  const Deadline deadline = Deadline::in(seconds(20));
  while (read_file(dir_.path() / "bench.err").find(" start ") == std::string::npos) {
    ASSERT_FALSE(deadline.passed());
    std::this_thread::sleep_for(milliseconds(10));
  }
  bench.signal(SIGINT);
  const auto exit = bench.wait(Deadline::in(seconds(30)));
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->status(), 130);
  const fs::path run = fs::directory_iterator(results)->path();
  EXPECT_THAT(read_file(run / "samples.csv"), HasSubstr("mark.ready"));
  EXPECT_THAT(read_file(run / "result.json"), HasSubstr("mark.ready"));
  EXPECT_THAT(tare({"runs"}).out, HasSubstr("canceled"));
}

// The private agent of each `tare runs` opens the database that the other agent writes.
TEST_F(AgentVerbs, RunsAndShowGoOnWhileAnotherAgentMeasuresAndHarmNothing) {
  trial_ms_ = 2;
  const Fd err = open_file(dir_.path() / "bench.err", O_RDWR | O_CREAT);
  const fs::path results = dir_.path() / "results";
  Child bench = spawn({"bench", write("s.yaml", suite(100000)).string(), "--results", results.string()}, -1, err.get());
  const Deadline deadline = Deadline::in(seconds(20));
  while (read_file(dir_.path() / "bench.err").find(" start ") == std::string::npos) {
    ASSERT_FALSE(deadline.passed()) << read_file(dir_.path() / "bench.err");
    std::this_thread::sleep_for(milliseconds(10));
  }
  for (int i = 0; i < 50; ++i) {
    const Ended listed = tare({"runs"});
    ASSERT_EQ(listed.exit.code, 0) << listed.err;
    ASSERT_THAT(listed.out, HasSubstr(" running ")) << "call " << i;
  }
  EXPECT_THAT(tare({"show", "last"}).out, HasSubstr("metal"));
  const Ended refused = tare({"bench", (dir_.path() / "s.yaml").string(), "--results", results.string()});
  EXPECT_EQ(refused.exit.code, 2);
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
  EXPECT_THAT(ended.out, AllOf(HasSubstr("metal can run here"), HasSubstr("vm can run here (fake), emulated")));
}

TEST_F(AgentVerbs, TheAgentRefusesAConfigurationWithAnUnknownKey) {
  const Ended ended = tare({"agent", "--config", write("agent.yaml", "log_level: info\ntcp_prot: 1\n").string()});
  EXPECT_EQ(ended.exit.code, 2);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("agent.yaml:2"), HasSubstr("did you mean 'tcp_port'?")));
}

}  // namespace
}  // namespace tare::test
