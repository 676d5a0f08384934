// SPDX-License-Identifier: Apache-2.0
// What SIGKILL and a full disk leave: every sample that was acknowledged.
#include <sys/mount.h>

#include "agent_fixture.h"

namespace tare::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class AgentCrash : public AgentTest {
 protected:
  static std::size_t lines(const std::string& text) { return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')); }
};

TEST_F(AgentCrash, AKilledAgentsRunIsInterruptedWithEverySampleItHadTold) {
  start_agent();
  const std::string run = post(suite(10000));
  std::string told;
  while (lines(told) < 200) told = client().get("/tare/v1/runs/" + run + "/samples");
  kill_agent();
  start_agent();
  EXPECT_EQ(state_of(run), "interrupted");
  const std::string kept = client().get("/tare/v1/runs/" + run + "/samples");
  EXPECT_EQ(kept.substr(0, told.size()), told);
  EXPECT_EQ(events(run).back().event, "finished");
  EXPECT_THAT(client().get("/tare/v1/runs/" + run + "/result"), HasSubstr("mark.ready"));
  const std::string next = post(suite(2));  // nothing of the old run is in the way
  ASSERT_TRUE(wait_for_end(next));
  EXPECT_EQ(state_of(next), "ok");
}

TEST_F(AgentCrash, TheLastResultIsOnMetricsAfterARestart) {
  start_agent();
  ASSERT_TRUE(wait_for_end(post(suite(7))));
  kill_agent();
  start_agent();
  const Deadline deadline = Deadline::in(seconds(10));
  std::string text;
  while (text.find("tare_result_start_seconds{") == std::string::npos && !deadline.passed()) text = client().get("/metrics");
  EXPECT_THAT(text, HasSubstr("tare_result_start_seconds{backend=\"metal\""));
}

TEST_F(AgentCrash, NothingIsMeasuredBeforeTheFirstLookAtTheHostIsOver) {
  look_ms_ = 700;
  start_agent();
  const std::string run = post(suite(1000));
  const Deadline deadline = Deadline::in(seconds(20));
  while (lines(client().get("/tare/v1/runs/" + run + "/samples")) < 2) ASSERT_FALSE(deadline.passed());
  EXPECT_THAT(client().get("/metrics"), HasSubstr("tare_check_ok{"));
}

TEST_F(AgentCrash, AnAgentKilledUnderItsClientCostsTheRunButNotTheFiles) {
  start_agent();
  const fs::path file = write("s.yaml", suite(10000));
  const fs::path results = dir_.path() / "results";
  const Fd err = open_file(dir_.path() / "bench.err", O_WRONLY | O_CREAT);
  Child bench = spawn({"bench", file.string(), "--results", results.string()}, -1, err.get());
  fs::path samples;
  const Deadline deadline = Deadline::in(seconds(20));
  while (samples.empty() || fs::file_size(samples) < 10000) {
    ASSERT_FALSE(deadline.passed());
    std::this_thread::sleep_for(milliseconds(10));
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(results, ignored)) {
      if (fs::exists(entry.path() / "samples.csv")) samples = entry.path() / "samples.csv";
    }
  }
  kill_agent();
  const auto exit = bench.wait(Deadline::in(seconds(60)));
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->code, 1);
  EXPECT_THAT(read_file(dir_.path() / "bench.err"), HasSubstr("the agent ended in mid-run"));
  EXPECT_TRUE(fs::exists(samples.parent_path() / "result.json")) << read_file(dir_.path() / "bench.err");
  EXPECT_FALSE(fs::exists(socket().parent_path() / ("private-" + std::to_string(bench.pid()))));
}

TEST_F(AgentCrash, AResultsDirectoryThatFillsUpCostsTheFilesButNotTheRun) {
  const fs::path file = write("s.yaml", suite(150));
  fs::create_directory(dir_.path() / "small");
  // The mount is in a namespace of its own and ends with it.
  const std::string script = "mount -t tmpfs -o size=64k tmpfs " + (dir_.path() / "small").string() + " && exec \"$0\" bench " +
                             file.string() + " --quiet --results " + (dir_.path() / "small").string();
  Child::Options options;
  options.argv = {"unshare", "--mount", "--propagation", "private", "sh", "-c", script, TARE_FAKE};
  options.extra_environment = environment();
  const Fd err = open_file(dir_.path() / "full.err", O_WRONLY | O_CREAT);
  options.stderr_fd = err.get();
  options.die_with_parent = true;
  Child bench = Child::spawn(options);
  const auto exit = bench.wait(Deadline::in(seconds(100)));
  ASSERT_TRUE(exit);
  const std::string said = read_file(dir_.path() / "full.err");
  EXPECT_EQ(exit->code, 1) << said;  // the run is whole, its files are not (README: exit codes)
  EXPECT_THAT(said, AllOf(HasSubstr("No space left"), HasSubstr("tare show")));
  const Ended shown = tare({"show", "last", "--csv"});
  EXPECT_GT(lines(shown.out), 150U * 3);
}

}  // namespace
}  // namespace tare::test
