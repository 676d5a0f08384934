// SPDX-License-Identifier: Apache-2.0
// A detached virtual machine survives its agent, however that ends, and the next one has it whole.
#include "core/listener.h"
#include "tests/integration/instances_fixture.h"
#include "tests/support/failure_of.h"

namespace tare::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class VmSurvival : public VmInstancesTest {
 protected:
  void start(const std::string& script, std::vector<std::string> options = {}) {
    options.insert(options.end(), {"-d", "--name", "kept", "--backend", "vm"});
    const Ended ended = tare(run(options, script));
    ASSERT_EQ(ended.status, 0) << ended.err;
    id_ = ended.out.substr(0, ended.out.size() - 1);
  }
  /// The QEMU of it, by its domain's name; 0 when there is none.
  pid_t emulator() const {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const auto command = try_read_file(entry.path() / "cmdline");
      if (command && command->find("guest=" + id_) != std::string::npos) return std::stoi(entry.path().filename());
    }
    return 0;
  }
  void expect_nothing_more_than(const Census& before) const {
    eventually([&] { return left() == before; });  // libvirt forgets a moment later
    EXPECT_EQ(left(), before);
  }
  double mark(const std::string& name) const {
    const std::string json = one("kept");
    const std::size_t at = json.find("\"" + name + "\":");
    return at == std::string::npos ? -1 : std::stod(json.substr(at + name.size() + 3));
  }
  std::string id_;
};

TEST_F(VmSurvival, ItPrintsOnWhileTheAgentIsKilledAndNoLineIsLostOrDoubled) {
  const Census before = left();
  start("i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo $i; [ $((i%50)) = 0 ] && usleep 2000; done; seq 6001 60000; sleep 1000");
  for (int round = 0; round < 4; ++round) {
    std::this_thread::sleep_for(60ms + round * 40ms);
    kill_agent();
    std::this_thread::sleep_for(40ms);
    begin_agent();
  }
  ASSERT_TRUE(eventually([&] { return tare({"logs", "--tail", "1", "kept"}).out == "60000\n"; }, 60s)) << tare({"logs", "kept"}).out.size();
  std::string numbers;
  for (int i = 1; i <= 60000; ++i) numbers += std::to_string(i) + "\n";
  EXPECT_TRUE(tare({"logs", "kept"}).out == numbers);
  EXPECT_THAT(tare({"ps"}).out, AllOf(HasSubstr(id_), HasSubstr("running")));
  EXPECT_EQ(tare({"exec", "kept", "sh", "-c", "exit 3"}).status, 3);
  EXPECT_EQ(tare({"rm", "--force", "kept"}).status, 0);
  expect_nothing_more_than(before);
}

TEST_F(VmSurvival, AnEndThatNobodySawIsKnownWithItsTimeAndItsLog) {
  start("echo early; sleep 0.6; echo late; exit 5");
  const double executed = mark("executed");
  kill_agent();
  std::this_thread::sleep_for(3s);
  begin_agent();
  ASSERT_TRUE(eventually([&] { return one("kept").find("\"status\":5") != std::string::npos; })) << one("kept");
  EXPECT_EQ(tare({"logs", "kept"}).out, "early\nlate\n");
  EXPECT_DOUBLE_EQ(mark("executed"), executed);
  EXPECT_NEAR(mark("exited") - executed, 0.6, 0.5) << "when it ended, and not when somebody looked: " << one("kept");
  kill_agent();
  begin_agent();
  EXPECT_THAT(one("kept"), HasSubstr("\"status\":5"));
  EXPECT_EQ(tare({"rm", "kept"}).status, 0);
}

TEST_F(VmSurvival, AnExitThatTheAgentHeardAndDidNotRecordIsKnown) {
  start("echo word; exit 5");
  ASSERT_TRUE(eventually([&] { return one("kept").find("\"status\":5") != std::string::npos; }));
  const double exited = mark("exited");
  kill_agent();
  std::filesystem::remove(paths_.instances() / id_ / "exit.json");  // as if it had been killed a moment before
  begin_agent();
  EXPECT_THAT(one("kept"), HasSubstr("\"status\":5"));
  EXPECT_NEAR(mark("exited"), exited, 1e-6);
  EXPECT_EQ(tare({"logs", "kept"}).out, "word\n");
  EXPECT_EQ(tare({"rm", "kept"}).status, 0);
}

TEST_F(VmSurvival, APausedOneStaysPausedAndGoesOn) {
  start("while true; do echo x; usleep 10000; done");
  client().request("POST", "/tare/v1/instances/kept/pause");
  kill_agent();
  begin_agent();
  EXPECT_THAT(one("kept"), HasSubstr("\"state\":\"paused\""));
  const std::string held = tare({"logs", "kept"}).out;
  client().request("POST", "/tare/v1/instances/kept/resume");
  EXPECT_TRUE(eventually([&] { return tare({"logs", "kept"}).out.size() > held.size() + 20; }));
  EXPECT_EQ(tare({"exec", "kept", "true"}).status, 0);
  EXPECT_EQ(tare({"rm", "--force", "kept"}).status, 0);
}

TEST_F(VmSurvival, AnAgentThatEndsInOrderLeavesItRunningAndTheNextOneStopsIt) {
  const Census before = left();
  start("trap 'exit 6' TERM; echo up; while true; do usleep 20000; done");
  const pid_t qemu = emulator();
  ASSERT_GT(qemu, 0);
  stop_agent();
  EXPECT_EQ(emulator(), qemu);
  begin_agent();
  EXPECT_EQ(tare({"stop", "kept"}).status, 0);
  EXPECT_THAT(tare({"ps", "--all"}).out, HasSubstr("exited (6)"));
  EXPECT_EQ(tare({"rm", "kept"}).status, 0);
  EXPECT_EQ(emulator(), 0);
  expect_nothing_more_than(before);
}

TEST_F(VmSurvival, ItsNetworkPortsAndDirectoriesAreTheNextAgentsToo) {
  const TempDir shared("/var/tmp");
  const Census before = left();
  start("while true; do cat /in/word; usleep 20000; done",
        {"--network", "bridge", "--publish", "38475:80", "-v", shared.path().string() + ":/in"});
  const auto address = [&] { return one("kept").substr(one("kept").find("\"address\""), 30); };
  const std::string had = address();
  kill_agent();
  EXPECT_EQ(hold_ports({{38475, 80}}, "test").size(), 1U);  // nobody's meanwhile
  begin_agent();
  EXPECT_EQ(address(), had);
  EXPECT_THAT(failure_of([] { hold_ports({{38475, 80}}, "test"); }).second, HasSubstr("port 38475 is in use"));
  write_file_atomic(shared.path() / "word", "seen\n");
  EXPECT_TRUE(eventually([&] { return tare({"logs", "--tail", "1", "kept"}).out == "seen\n"; }));
  EXPECT_EQ(tare({"rm", "--force", "kept"}).status, 0);
  stop_agent();  // which keeps the bridge
  expect_nothing_more_than(before);
}

TEST_F(VmSurvival, OneWhoseQemuDiedMeanwhileHasExitedAndTheReasonIsSaid) {
  const Census before = left();
  start("echo up; sleep 1000", {"--network", "link"});
  ASSERT_TRUE(eventually([&] { return tare({"logs", "kept"}).out == "up\n"; }));
  kill_agent();
  ::kill(emulator(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return emulator() == 0; }));
  begin_agent();
  EXPECT_THAT(one("kept"), AllOf(HasSubstr("\"state\":\"exited\""), HasSubstr("ended while there was no agent")));
  EXPECT_EQ(tare({"logs", "kept"}).out, "up\n");
  EXPECT_EQ(tare({"rm", "kept"}).status, 0);
  expect_nothing_more_than(before);
}

TEST_F(VmSurvival, WhatWasOnlyHalfMadeIsRemoved) {
  const Census before = left();
  start("sleep 1000");
  kill_agent();
  ASSERT_TRUE(std::filesystem::remove(paths_.instances() / id_ / "started.json"));  // as if it had been killed before
  begin_agent();
  EXPECT_THAT(tare({"ps", "--all"}).out, Not(HasSubstr(id_)));
  expect_nothing_more_than(before);
}

TEST_F(VmSurvival, OneThatTheNextAgentCannotReachIsRemovedWhole) {
  const Census before = left();
  start("sleep 1000", {"--network", "link"});
  kill_agent();
  start_agent("vm: {accelerator: tcg, connection: 'nosuch:///system'}\n");
  EXPECT_THAT(read_file(dir_.path() / "agent.log"), HasSubstr("is not adopted"));
  EXPECT_THAT(tare({"ps", "--all"}).out, Not(HasSubstr(id_)));
  EXPECT_EQ(emulator(), 0);
  expect_nothing_more_than(before);
}

TEST_F(VmSurvival, OneOfAnotherVersionIsRemovedAndNotMisread) {
  const Census before = left();
  start("sleep 1000");
  kill_agent();
  const auto file = paths_.instances() / id_ / "vm.json";
  std::string text = read_file(file);
  text.replace(text.find("\"version\":") + 10, 1, "9");
  write_file_atomic(file, text);
  begin_agent();
  EXPECT_THAT(tare({"ps", "--all"}).out, Not(HasSubstr(id_)));
  EXPECT_THAT(read_file(dir_.path() / "agent.log"), HasSubstr("another version"));
  expect_nothing_more_than(before);
}

TEST_F(VmSurvival, AClonesTemplateNeedNotSurvive) {
  const Census before = left();
  start("echo up; i=0; while true; do i=$((i+1)); echo $i; usleep 20000; done", {"--start", "restored"});
  kill_agent();
  begin_agent();
  const auto last = [&] { return tare({"logs", "--tail", "1", "kept"}).out; };
  const std::string then = last();
  EXPECT_TRUE(eventually([&] { return last() != then; }));
  EXPECT_THAT(tare({"logs", "kept"}).out, testing::StartsWith("up\n1\n2\n3\n"));
  EXPECT_EQ(tare({"exec", "kept", "true"}).status, 0);
  EXPECT_EQ(tare({"rm", "--force", "kept"}).status, 0);
  expect_nothing_more_than(before);
}

}  // namespace
}  // namespace tare::test
