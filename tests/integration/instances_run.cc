// SPDX-License-Identifier: Apache-2.0
// `tare run` and the verbs beside it, with the real agent and the real backends.
#include <sys/stat.h>

#include "tests/integration/instances_fixture.h"

namespace tare::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST_F(InstancesTest, OutputComesAsItIsAndTheExitCodeIsTheWorkloads) {
  for (const char* backend : {"container", "metal"}) {
    const Ended ended = tare(run({"--backend", backend}, "printf 'no newline'; printf 'e\\n\\n' >&2; exit 7"));
    EXPECT_EQ(ended.status, 7) << backend;
    EXPECT_EQ(ended.out, "no newline");
    EXPECT_EQ(ended.err, "e\n\n");
  }
}

TEST_F(InstancesTest, OptionsReachTheWorkload) {
  const Ended ended = tare(run({"-e", "A=x y", "--workdir", "/tmp", "--hostname", "here"}, "echo $A; pwd; hostname"));
  EXPECT_EQ(ended.out, "x y\n/tmp\nhere\n") << ended.err;
}

TEST_F(InstancesTest, AKillForMemoryIsSaidAndIs137) {
  const Ended ended = tare(run({"--memory", "16MiB"}, "x=a; while true; do x=$x$x; done"));
  EXPECT_EQ(ended.status, 137);
  EXPECT_THAT(ended.err, HasSubstr("was killed for memory: limit 16.0 MiB"));
}

TEST_F(InstancesTest, SignalsAreHandedOn) {
  Running running = begin(run({}, "trap 'echo caught; exit 3' TERM; echo up; while true; do sleep 0.05; done"));
  ASSERT_TRUE(eventually([&] { return read_file(running.out) == "up\n"; }));
  running.child.signal(SIGTERM);
  const Ended ended = running.wait();
  EXPECT_EQ(ended.status, 3);
  EXPECT_EQ(ended.out, "up\ncaught\n");
}

TEST_F(InstancesTest, AnAttachedRunEndsWithItsClientAndLeavesNothing) {
  const Census before = left();
  for (const char* backend : {"container", "metal"}) {
    Running running = begin(run({"--backend", backend, "--network", "link", "--name", "leased"}, "echo up; sleep 1000"));
    ASSERT_TRUE(eventually([&] { return read_file(running.out) == "up\n"; })) << read_file(running.err);
    EXPECT_THAT(tare({"ps"}).out, HasSubstr("leased"));
    running.child.signal(SIGKILL);
    EXPECT_TRUE(eventually([&] { return left() == before; })) << backend;
    EXPECT_THAT(tare({"ps", "--all"}).out, Not(HasSubstr("leased")));
  }
}

TEST_F(InstancesTest, ADetachedOneIsListedLoggedEnteredStoppedAndRemoved) {
  const Census before = left();
  const Ended started = tare(run({"-d", "--name", "web"}, "echo one; echo two >&2; trap 'exit 9' TERM; while true; do sleep 0.05; done"));
  ASSERT_EQ(started.status, 0) << started.err;
  const std::string id = started.out.substr(0, started.out.size() - 1);
  EXPECT_THAT(tare({"ps"}).out, AllOf(HasSubstr(id), HasSubstr("web"), HasSubstr("running")));
  EXPECT_THAT(one(id.substr(0, 6)), AllOf(HasSubstr("\"executed\":"), HasSubstr("\"memory\":"), HasSubstr("\"namespaces\":\"mount")));
  ASSERT_TRUE(eventually([&] { return tare({"logs", "web"}).out == "one\n"; }));
  EXPECT_EQ(tare({"logs", "web"}).err, "two\n");
  EXPECT_THAT(tare({"logs", "-t", "web"}).out, testing::MatchesRegex("20..-..-..T..:..:..[.].........Z one\n"));
  EXPECT_EQ(tare({"logs", "--tail", "0", "web"}).out, "");

  const Ended inside = tare({"exec", "web", "sh", "-c", "hostname; echo e >&2; exit 4"});
  EXPECT_EQ(inside.out, id + "\n");
  EXPECT_EQ(inside.err, "e\n");
  EXPECT_EQ(inside.status, 4);
  EXPECT_THAT(tare({"exec", "web", "no-such-program"}).err, HasSubstr("no-such-program"));

  EXPECT_EQ(tare({"rm", "web"}).status, 1);  // it runs
  Running following = begin({"logs", "-f", "web"});
  ASSERT_EQ(tare({"stop", "web"}).status, 0);
  EXPECT_EQ(following.wait().out, "one\n");  // it ends with the instance
  EXPECT_THAT(tare({"ps"}).out, Not(HasSubstr("web")));
  EXPECT_THAT(tare({"ps", "--all"}).out, HasSubstr("exited (9)"));
  EXPECT_EQ(tare({"logs", "web"}).out, "one\n");
  EXPECT_EQ(tare({"rm", id}).status, 0);
  EXPECT_THAT(tare({"ps", "--all"}).out, Not(HasSubstr(id)));
  EXPECT_EQ(left(), before);
}

TEST_F(InstancesTest, NamesAreTakenOnceAndUnknownOnesAreSuggested) {
  ASSERT_EQ(tare(run({"-d", "--name", "alpha"}, "sleep 1000")).status, 0);
  const Ended twice = tare(run({"-d", "--name", "alpha"}, "true"));
  EXPECT_EQ(twice.status, 1);
  EXPECT_THAT(twice.err, HasSubstr("the name 'alpha' is in use"));
  EXPECT_THAT(tare({"logs", "alhpa"}).err, HasSubstr("did you mean 'alpha'?"));
  EXPECT_EQ(tare({"rm", "--force", "alpha"}).status, 0);
  EXPECT_EQ(tare(run({"--name", "alpha"}, "true")).status, 0);  // free again, and again after a start that fails
  EXPECT_NE(tare({"run", "--name", "alpha", image_.reference(), "no-such-program"}).status, 0);
  EXPECT_EQ(tare(run({"--name", "alpha"}, "true")).status, 0);
}

TEST_F(InstancesTest, PauseHoldsItAndResumeLetsItGoOn) {
  ASSERT_EQ(tare(run({"-d", "--name", "pp"}, "while true; do echo x; sleep 0.01; done")).status, 0);
  client().request("POST", "/tare/v1/instances/pp/pause");
  EXPECT_THAT(one("pp"), HasSubstr("\"state\":\"paused\""));
  std::this_thread::sleep_for(50ms);
  const std::string held = tare({"logs", "pp"}).out;
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(tare({"logs", "pp"}).out, held);
  client().request("POST", "/tare/v1/instances/pp/resume");
  EXPECT_TRUE(eventually([&] { return tare({"logs", "pp"}).out.size() > held.size(); }));
}

TEST_F(InstancesTest, WaitAnswersWhenItHasEnded) {
  ASSERT_EQ(tare(run({"-d", "--name", "ww"}, "sleep 0.2; exit 5")).status, 0);
  EXPECT_THAT(client().request("POST", "/tare/v1/instances/ww/wait"), HasSubstr("\"StatusCode\":5"));
  client().request("POST", "/tare/v1/instances/ww/wait");  // at once
  EXPECT_THROW(client().request("POST", "/tare/v1/instances/ww/signal?signal=TERM"), Error);
}

TEST_F(InstancesTest, ASlowReaderLosesNothingAndTheWorkloadWaitsForIt) {
  const Output output =
      run_tool({"sh", "-c",
                "TARE_STATE_DIR=$1 TARE_RUN_DIR=$2 " TARE_BINARY_DIR
                "/bin/tare run $3 sh -c 'seq 1 1000000; sleep 0.1; seq 1 3' | (sleep 1; md5sum); (seq 1 1000000; seq 1 3) | md5sum",
                "sh", paths_.state.string(), paths_.run.string(), image_.reference()},
               Deadline::in(100s));
  EXPECT_EQ(output.err, "");
  const std::size_t half = output.out.size() / 2;
  EXPECT_EQ(output.out.substr(0, half), output.out.substr(half)) << output.out;
  EXPECT_GT(half, 30U);
}

TEST_F(InstancesTest, FiftyAtOnceAllEndAsTheyShould) {
  const Census before = left();
  std::vector<Running> running;
  for (int i = 0; i < 50; ++i) running.push_back(begin(run({}, "echo " + std::to_string(i) + "; exit " + std::to_string(i % 7))));
  for (int i = 0; i < 50; ++i) {
    const Ended ended = running[static_cast<std::size_t>(i)].wait();
    EXPECT_EQ(ended.status, i % 7) << ended.err;
    EXPECT_EQ(ended.out, std::to_string(i) + "\n");
  }
  EXPECT_EQ(left(), before);
}

TEST(PrivateAgent, RunsAWorkloadAndEndsWithIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const BusyboxImage image;
  const TempDir dir("/var/tmp");
  const std::vector<std::string> tare = {"env", "TARE_STATE_DIR=" + (dir.path() / "s").string(),
                                         "TARE_RUN_DIR=" + (dir.path() / "r").string(), TARE_BINARY_DIR "/bin/tare", "run"};
  auto attached = tare;
  attached.insert(attached.end(), {image.reference(), "sh", "-c", "echo hello; exit 6"});
  const Output output = run_tool(attached, Deadline::in(60s));
  EXPECT_EQ(output.exit.code, 6) << output.err;
  EXPECT_EQ(output.out, "hello\n");
  EXPECT_TRUE(std::filesystem::is_empty(dir.path() / "r"));
  auto detached = tare;
  detached.insert(detached.end(), {"-d", image.reference(), "true"});
  EXPECT_THAT(run_tool(detached, Deadline::in(60s)).err, HasSubstr("start one with `tare agent`"));
}

}  // namespace
}  // namespace tare::test
