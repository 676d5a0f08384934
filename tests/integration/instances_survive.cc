// SPDX-License-Identifier: Apache-2.0
// What a detached instance survives, and what becomes of the rest: agent and launcher killed at bad moments.
#include "core/listener.h"
#include "tests/integration/instances_fixture.h"
#include "tests/support/failure_of.h"

namespace tare::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class SurvivalTest : public InstancesTest, public testing::WithParamInterface<const char*> {
 protected:
  std::string numbers(int last) const {
    std::string text;
    for (int i = 1; i <= last; ++i) text += std::to_string(i) + "\n";
    return text;
  }
  void start(const std::string& script, std::vector<std::string> options = {}) {
    options.insert(options.end(), {"-d", "--name", "kept", "--backend", GetParam()});
    const Ended ended = tare(run(options, script));
    ASSERT_EQ(ended.status, 0) << ended.err;
    id_ = ended.out.substr(0, ended.out.size() - 1);
  }
  /// True while a process is in its control group.
  bool any_process() const {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const bool inside = try_read_file(entry.path() / "cgroup").value_or("").find(id_) != std::string::npos;
      if (inside && try_read_file(entry.path() / "stat").value_or(") Z").find(") Z") == std::string::npos) return true;
    }
    return false;
  }
  /// The launcher of our run directory: it has its socket's path on its command line.
  pid_t launcher() const {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const auto command = try_read_file(entry.path() / "cmdline");
      if (command && command->find("tare-launcher") != std::string::npos && command->find(paths_.run.string()) != std::string::npos) {
        return std::stoi(entry.path().filename());
      }
    }
    ADD_FAILURE() << "there is no launcher";
    return ::getpid();
  }
  std::string id_;
};

TEST_P(SurvivalTest, ItPrintsOnWhileTheAgentIsKilledAndNoLineIsLostOrDoubled) {
  const Census before = left();
  start("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; [ $((i%10)) = 0 ] && usleep 2000; done; sleep 1000");
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(60ms);
    kill_agent();
    std::this_thread::sleep_for(40ms);
    start_agent();
  }
  ASSERT_TRUE(eventually([&] { return tare({"logs", "--tail", "1", "kept"}).out == "3000\n"; }, 60s));
  EXPECT_EQ(tare({"logs", "kept"}).out, numbers(3000));
  EXPECT_THAT(tare({"ps"}).out, AllOf(HasSubstr(id_), HasSubstr("running")));
  EXPECT_EQ(tare({"exec", "kept", "sh", "-c", "exit 3"}).status, 3);  // it is whole: its namespaces can be entered
  EXPECT_EQ(tare({"rm", "--force", "kept"}).status, 0);
  EXPECT_EQ(left(), before);
}

TEST_P(SurvivalTest, AnEndThatNobodySawIsKnownAndSoIsItsLog) {
  start("echo early; sleep 0.3; echo late; exit 5");
  const std::string created = one("kept");
  kill_agent();
  std::this_thread::sleep_for(600ms);
  start_agent();
  EXPECT_TRUE(eventually([&] { return one("kept").find("\"status\":5") != std::string::npos; })) << one("kept");
  EXPECT_EQ(tare({"logs", "kept"}).out, "early\nlate\n");
  const auto created_at = [](const std::string& json) { return json.substr(json.find("\"created_at\""), 45); };
  EXPECT_EQ(created_at(one("kept")), created_at(created));
  EXPECT_THAT(one("kept"), AllOf(HasSubstr("\"executed\":"), HasSubstr("\"prepared\":"), HasSubstr("\"exited\":")));
  kill_agent();  // once more: its end is on record now
  start_agent();
  EXPECT_THAT(one("kept"), HasSubstr("\"status\":5"));
  EXPECT_EQ(tare({"rm", "kept"}).status, 0);
}

TEST_P(SurvivalTest, APausedOneStaysPaused) {
  start("while true; do echo x; sleep 0.01; done");
  client().request("POST", "/tare/v1/instances/kept/pause");
  kill_agent();
  start_agent();
  EXPECT_THAT(one("kept"), HasSubstr("\"state\":\"paused\""));
  const std::string held = tare({"logs", "kept"}).out;
  client().request("POST", "/tare/v1/instances/kept/resume");
  EXPECT_TRUE(eventually([&] { return tare({"logs", "kept"}).out.size() > held.size(); }));
  EXPECT_EQ(tare({"rm", "--force", "kept"}).status, 0);
}

TEST_P(SurvivalTest, AnAgentThatEndsInOrderLeavesItRunningToo) {
  start("trap 'exit 6' TERM; echo up; while true; do sleep 0.02; done");
  stop_agent();
  EXPECT_TRUE(any_process());
  start_agent();
  EXPECT_EQ(tare({"stop", "kept"}).status, 0);
  EXPECT_THAT(tare({"ps", "--all"}).out, HasSubstr("exited (6)"));
  EXPECT_EQ(tare({"rm", "kept"}).status, 0);
}

TEST_P(SurvivalTest, WhatWasOnlyHalfMadeIsRemoved) {
  const Census before = left();
  start("sleep 1000");
  kill_agent();
  ASSERT_TRUE(std::filesystem::remove(paths_.instances() / id_ / "started.json"));  // as if it had been killed before
  start_agent();
  EXPECT_THAT(tare({"ps", "--all"}).out, Not(HasSubstr(id_)));
  EXPECT_TRUE(eventually([&] { return left() == before; }));
}

TEST_P(SurvivalTest, WithoutItsLauncherItIsEndedAndTheReasonIsSaid) {
  start("trap '' TERM HUP; while true; do sleep 0.02; done");
  ::kill(launcher(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return one("kept").find("tare-launcher has ended") != std::string::npos; })) << one("kept");
  EXPECT_TRUE(eventually([&] { return !any_process(); }));
  EXPECT_EQ(tare(run({"--backend", GetParam()}, "exit 7")).status, 7);  // by a new launcher
  kill_agent();
  start_agent();
  EXPECT_THAT(one("kept"), AllOf(HasSubstr("\"state\":\"exited\""), HasSubstr("tare-launcher has ended")));
  EXPECT_EQ(tare({"rm", "kept"}).status, 0);
}

TEST_P(SurvivalTest, AgentAndLauncherKilledLeaveOneThatHasExited) {
  const Census before = left();
  start("while true; do sleep 0.02; done", {"--network", "link"});
  const pid_t its_launcher = launcher();
  agent_->signal(SIGSTOP);  // it must not see the launcher's end
  ::kill(its_launcher, SIGKILL);
  kill_agent();
  EXPECT_TRUE(any_process());
  start_agent();
  EXPECT_TRUE(eventually([&] { return !any_process(); }));
  EXPECT_TRUE(eventually([&] { return one("kept").find("\"exit\":") != std::string::npos; }));
  EXPECT_EQ(tare({"rm", "kept"}).status, 0);
  EXPECT_EQ(left(), before);
}

TEST_P(SurvivalTest, ItsLinkIsKeptAndGoesWithIt) {
  const Census before = left();
  start("sleep 1000", {"--network", "link"});
  const auto address = [&] { return one("kept").substr(one("kept").find("\"address\""), 30); };
  const std::string had = address();
  kill_agent();
  start_agent();
  EXPECT_EQ(address(), had);
  EXPECT_EQ(tare({"rm", "--force", "kept"}).status, 0);
  EXPECT_EQ(left(), before);
}

/// metal publishes no ports: it shares the host's.
class ContainerSurvival : public SurvivalTest {};

TEST_P(ContainerSurvival, ThePortThatItPublishesIsHeldByTheNextAgentToo) {
  start("sleep 1000", {"--network", "bridge", "--publish", "38474:80"});
  EXPECT_THAT(failure_of([] { hold_ports({{38474, 80}}, "test"); }).second, HasSubstr("port 38474 is in use"));
  kill_agent();
  EXPECT_EQ(hold_ports({{38474, 80}}, "test").size(), 1U);  // nobody's meanwhile
  start_agent();
  EXPECT_THAT(failure_of([] { hold_ports({{38474, 80}}, "test"); }).second, HasSubstr("port 38474 is in use"));
  EXPECT_EQ(tare({"rm", "--force", "kept"}).status, 0);
}

INSTANTIATE_TEST_SUITE_P(Backends, ContainerSurvival, testing::Values("container"));
INSTANTIATE_TEST_SUITE_P(Backends, SurvivalTest, testing::Values("metal", "container"),
                         [](const auto& chosen) { return std::string(chosen.param); });

using SurvivalOfTheRest = InstancesTest;

TEST_F(SurvivalOfTheRest, TheIdsOfAUserNamespaceAreKeptAndGoWithIt) {
  const Census before = left();
  ASSERT_EQ(tare(run({"-d", "--name", "kept", "--userns", "auto"}, "sleep 1000")).status, 0);
  const auto map = [&] { return tare({"exec", "kept", "cat", "/proc/self/uid_map"}).out; };
  const std::string had = map();
  const std::set<std::string> claims = left().id_ranges;
  EXPECT_EQ(claims.size(), before.id_ranges.size() + 1);
  kill_agent();
  start_agent();
  EXPECT_EQ(left().id_ranges, claims);
  EXPECT_EQ(map(), had);
  EXPECT_THAT(had, HasSubstr(" 65536\n"));
  EXPECT_EQ(tare({"rm", "--force", "kept"}).status, 0);
  EXPECT_EQ(left(), before);
}

TEST_F(SurvivalOfTheRest, AnAttachedRunEndsWithItsAgentHoweverThatEnds) {
  const Census before = left();
  Running running = begin(run({"--userns", "auto"}, "echo up; sleep 1000"));
  ASSERT_TRUE(eventually([&] { return read_file(running.out) == "up\n"; }));
  kill_agent();
  EXPECT_EQ(running.wait().status, 1);
  start_agent();
  EXPECT_TRUE(eventually([&] { return left() == before; }));
}

TEST_F(SurvivalOfTheRest, ASecondAgentTouchesNothing) {
  ASSERT_EQ(tare(run({"-d", "--name", "kept"}, "sleep 1000")).status, 0);
  const Ended second = tare({"agent"});
  EXPECT_EQ(second.status, 1);
  EXPECT_THAT(second.err, HasSubstr("another agent answers on"));
  EXPECT_THAT(tare({"ps"}).out, HasSubstr("kept"));
  EXPECT_EQ(tare({"rm", "-f", "kept"}).status, 0);
}

}  // namespace
}  // namespace tare::test
