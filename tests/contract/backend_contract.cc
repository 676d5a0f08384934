// SPDX-License-Identifier: Apache-2.0
// What every backend promises of the process it runs, from its start to its removal, against the real ones on this host: the same
// workload, the same words, the same end.
#include "tests/contract/backend_contract.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <future>
#include <thread>

#include "core/error.h"
#include "core/readiness.h"
#include "tests/support/failure_of.h"

namespace tare::contract {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AnyOf;
using testing::HasSubstr;

TEST_P(BackendContract, MarksHappenInOrderAndOnlyAGuestHasAKernel) {
  const Exit exit = run(probe_image({"probe", "noop"}));
  EXPECT_TRUE(exit.ok());
  for (const Mark mark : {Mark::requested, Mark::prepared, Mark::launched, Mark::executed, Mark::exited, Mark::removed}) {
    EXPECT_TRUE(timeline_->at(mark).has_value()) << name(mark);
  }
  EXPECT_EQ(timeline_->at(Mark::kernel).has_value(), is_vm());
  EXPECT_EQ(timeline_->at(Mark::init).has_value(), is_vm());
  EXPECT_EQ(timeline_->disorder(), std::nullopt);
  if (is_vm()) {
    EXPECT_LT(timeline_->guest(Mark::executed).value().error_bound, milliseconds(50));
  }
}

TEST_P(BackendContract, ExitCodesReachTheCaller) {
  EXPECT_EQ(run(shell("exit 7")), (Exit{7, false, false}));
  EXPECT_EQ(run(shell("true")), (Exit{0, false, false}));
}

TEST_P(BackendContract, OutputOfBothStreamsArrivesWholeAndApart) {
  std::string out;
  std::string err;
  EXPECT_TRUE(run(shell("echo to out; echo to err >&2; printf 'no newline'"), &out, &err).ok());
  EXPECT_EQ(out, "to out\nno newline\n");
  EXPECT_EQ(err, "to err\n");
}

TEST_P(BackendContract, AMebibyteOfOutputLosesNoLine) {
  std::string out;
  EXPECT_TRUE(run(shell("seq 1 150000"), &out).ok());
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 150000);
  EXPECT_TRUE(out.starts_with("1\n2\n"));
  EXPECT_TRUE(out.ends_with("149999\n150000\n"));
}

TEST_P(BackendContract, EnvironmentDirectoryAndArgumentsAreAsAsked) {
  Workload workload = shell("echo $GREETING; pwd; echo \"$0|$1\"");
  workload.command.insert(workload.command.end(), {"zero", "with space 'and' \"quotes\" \\ ü"});
  workload.environment = {"GREETING=hello world"};
  workload.working_directory = "/made/for/it";
  std::string out;
  EXPECT_TRUE(run(workload, &out).ok());
  EXPECT_EQ(out, "hello world\n/made/for/it\nzero|with space 'and' \"quotes\" \\ ü\n");
}

TEST_P(BackendContract, HostnameIsTheInstancesUnlessItIsTheHosts) {
  std::array<char, 256> host{};
  ASSERT_EQ(::gethostname(host.data(), host.size() - 1), 0);
  Workload workload = shell("hostname");
  workload.hostname = "scale-pan";
  std::string out;
  EXPECT_TRUE(run(workload, &out).ok());
  // metal has no UTS namespace: its hostname is the host's by definition, whatever was asked for.
  EXPECT_EQ(out, is_metal() ? std::string(host.data()) + "\n" : "scale-pan\n");
}

TEST_P(BackendContract, WaitGivesUpAtItsDeadline) {
  const auto instance = start(shell("sleep 1000"));
  EXPECT_EQ(instance->wait(Deadline::in(milliseconds(20))), std::nullopt);
  EXPECT_EQ(instance->state(), State::running);
}

TEST_P(BackendContract, StopAsksFirstAndAWorkloadThatListensEndsWell) {
  const auto instance = start(probe_image({"probe", "idle"}));
  ASSERT_TRUE(instance->log().wait_for_line(0, soon()));  // it listens from its first line on
  EXPECT_EQ(instance->stop(seconds(30)), (Exit{0, false, false}));
  EXPECT_EQ(instance->state(), State::exited);
  EXPECT_LE(*timeline_->at(Mark::stopping), *timeline_->at(Mark::exited));
}

TEST_P(BackendContract, StopKillsTheWholeTreeAfterTheGrace) {
  const auto instance = start(shell("trap '' TERM; (trap '' TERM; sleep 1000) & echo deaf; sleep 1000"));
  ASSERT_TRUE(instance->log().wait_for_line(0, soon()));
  const Exit exit = instance->stop(milliseconds(200));
  EXPECT_EQ(exit.status(), 128 + SIGKILL);
}  // the census of TearDown finds a sleep that survived

TEST_P(BackendContract, ASignalReachesTheWorkload) {
  const auto instance = start(shell("trap 'echo got it; exit 5' USR1; echo ready; while :; do usleep 10000; done"));
  ASSERT_TRUE(instance->log().wait_for_line(0, soon()));
  instance->signal(SIGUSR1);
  EXPECT_EQ(instance->wait(soon()), (Exit{5, false, false}));
  EXPECT_TRUE(instance->log().wait_closed(soon()));
  EXPECT_EQ(instance->log().text(Stream::out), "ready\ngot it\n");
}

TEST_P(BackendContract, ExecRunsInsideAndBringsOutputAndExitCode) {
  const auto instance = start(shell("echo secret > /tmp/inside; echo ready; sleep 1000"));
  ASSERT_TRUE(instance->log().wait_for_line(0, soon()));
  const ExecResult result = instance->exec({"sh", "-c", "cat /tmp/inside; echo complaint >&2; exit 9"}, soon());
  EXPECT_EQ(result.out, "secret\n");
  EXPECT_EQ(result.err, "complaint\n");
  EXPECT_EQ(result.exit, (Exit{9, false, false}));
}

TEST_P(BackendContract, ExecOfWhatIsNotThereIsRefusedAndTheInstanceGoesOn) {
  const auto instance = start(shell("sleep 1000"));
  EXPECT_THROW(instance->exec({"no-such-command"}, soon()), Error);
  EXPECT_EQ(instance->exec({"true"}, soon()).exit, (Exit{0, false, false}));
}

TEST_P(BackendContract, ExecThatHangsIsKilledAtItsDeadline) {
  const auto instance = start(shell("sleep 1000"));
  try {
    instance->exec({"sleep", "500"}, Deadline::in(seconds(2)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::timeout);
  }
}

TEST_P(BackendContract, ExecHasADirectoryAndVariablesOfItsOwn) {
  Workload workload = shell("sleep 1000");
  workload.environment = {"A=1", "B=2"};
  const auto instance = start(workload);
  const auto exec = instance->start_exec(
      {.command = {"sh", "-c", "pwd; echo $A $B; exit 3"}, .working_directory = "/tmp", .environment = {"B=3"}}, soon());
  ASSERT_TRUE(exec->log().wait_closed(soon()));
  EXPECT_EQ(exec->log().text(Stream::out), "/tmp\n1 3\n");
  EXPECT_EQ(exec->wait(soon()), (Exit{3, false, false}));
}

TEST_P(BackendContract, WithInitTheExitCodeAndTheSignalsAreTheCommands) {
  Workload workload = shell("trap 'exit 5' USR1; echo ready; while :; do usleep 10000; done");
  workload.init = true;
  const auto instance = start(workload);
  ASSERT_TRUE(instance->log().wait_for_line(0, soon()));
  instance->signal(SIGUSR1);
  EXPECT_EQ(instance->wait(soon()), (Exit{5, false, false}));
}

TEST_P(BackendContract, ThreeAtOnceDoNotMeet) {
  std::vector<std::future<std::string>> outputs;
  const Workload workload = shell("echo $$ > /tmp/mine; usleep 50000; ls /tmp; hostname");
  backend_->prepare(workload);
  for (int i = 0; i < 3; ++i) {
    outputs.push_back(std::async(std::launch::async, [&] {
      Timeline timeline;
      timeline.mark(Mark::requested);
      const auto instance = backend_->start(workload, timeline);
      EXPECT_TRUE(instance->wait(Deadline::in(seconds(120))).has_value());
      EXPECT_TRUE(instance->log().wait_closed(soon()));
      return instance->log().text(Stream::out);
    }));
  }
  for (auto& output : outputs) EXPECT_TRUE(output.get().starts_with("mine\n"));
}

TEST_P(BackendContract, AnInstanceEndsWithItsFirstProcess) {
  std::string out;
  const Instant start = Instant::now();
  EXPECT_TRUE(run(shell("(sleep 1000) & echo gone"), &out).ok());  // the sleep would hold stdout open
  EXPECT_EQ(out, "gone\n");
  EXPECT_LT(Instant::now() - start, seconds(50));
}

TEST_P(BackendContract, DestroyingARunningInstanceLeavesNoTrace) {
  { const auto instance = start(shell("(sleep 1000) & sleep 1000")); }
  expect_no_trace();
}

TEST_P(BackendContract, RemoveIsIdempotentAndMarksRemoved) {
  const auto instance = start(shell("sleep 1000"));
  instance->remove();
  EXPECT_EQ(instance->state(), State::removed);
  expect_no_trace();
  instance->remove();
  EXPECT_TRUE(timeline_->at(Mark::removed).has_value());
}

TEST_P(BackendContract, ProtectionsAreNamed) {
  const auto instance = start(shell("sleep 1000"));
  const auto protections = instance->protections();
  EXPECT_EQ(protections.contains("namespaces"), !is_vm());  // what stands between a guest and the host is a kernel of its own
  EXPECT_EQ(protections.contains("kernel"), is_vm());
  EXPECT_TRUE(protections.contains("capabilities"));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Real, BackendContract, testing::Values(Lane{"metal"}, Lane{"container"}, Lane{"vm"}),
                         [](const auto& lane) { return lane.param.backend; });
// What a start made beforehand promises is what a cold one does.
INSTANTIATE_TEST_SUITE_P(Parked, BackendContract,
                         testing::Values(Lane{"metal", Start::pooled}, Lane{"metal", Start::zygote}, Lane{"container", Start::pooled},
                                         Lane{"container", Start::zygote}),
                         [](const auto& lane) { return lane.param.backend + "_" + std::string(name(lane.param.start)); });
// And a user namespace changes none of it.
constexpr Userns kOwn = Userns::automatic;
INSTANTIATE_TEST_SUITE_P(Mapped, BackendContract,
                         testing::Values(Lane{"container", Start::cold, kOwn}, Lane{"container", Start::pooled, kOwn},
                                         Lane{"container", Start::zygote, kOwn}),
                         [](const auto& lane) { return "container_" + std::string(name(lane.param.start)); });

}  // namespace tare::contract
