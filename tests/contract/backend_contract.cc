// SPDX-License-Identifier: Apache-2.0
// What every backend promises, run against the three real ones on this host: the same workload, the same words, the same end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <future>
#include <thread>

#include "agent/backends.h"
#include "core/error.h"
#include "core/readiness.h"
#include "tests/support/busybox_image.h"
#include "tests/support/census.h"

namespace tare {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Census;
using test::census;
using testing::AnyOf;
using testing::HasSubstr;

// One set of backends for the whole program: libvirt opens once, the launcher starts once.
agent::BackendSet& backends() {
  static const auto set = [] {
    agent::Config config;
    config.paths = Paths::from_environment();
    return agent::make_backends(config);
  }();
  return *set;
}

const test::BusyboxImage& busybox() {
  static const test::BusyboxImage image;
  return image;
}

Deadline soon() { return Deadline::in(seconds(60)); }  // a VM under TCG takes seconds

class BackendContract : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    for (Backend* candidate : backends().all()) {
      if (candidate->name() == GetParam()) backend_ = candidate;
    }
    ASSERT_NE(backend_, nullptr);
    const Probe probe = backend_->probe();
    ASSERT_TRUE(probe.able) << probe.reason << ": " << probe.remedy;
    busybox();  // made before the census: it is the suite's, not the instance's
    before_ = census(paths_);
  }
  void TearDown() override { EXPECT_EQ(census(paths_), before_); }

  Workload shell(const std::string& script) const {
    Workload workload;
    workload.name = "contract";
    workload.image = busybox().reference();
    workload.command = {"sh", "-c", script};
    workload.limits = {1.0, 128_MiB, 64};
    return workload;
  }
  Workload probe_image(std::vector<std::string> command) const {
    Workload workload = shell("");
    workload.image = "tare/probe";
    workload.command = std::move(command);
    return workload;
  }
  std::unique_ptr<Instance> start(const Workload& workload) {
    timeline_ = std::make_unique<Timeline>();
    backend_->prepare(workload);
    timeline_->mark(Mark::requested);
    return backend_->start(workload, *timeline_);
  }
  // Starts, waits for the end and the last line.
  Exit run(const Workload& workload, std::string* out = nullptr, std::string* err = nullptr) {
    const auto instance = start(workload);
    const auto exit = instance->wait(soon());
    EXPECT_TRUE(exit.has_value());
    EXPECT_TRUE(instance->log().wait_closed(soon()));
    if (out != nullptr) *out = instance->log().text(Stream::out);
    if (err != nullptr) *err = instance->log().text(Stream::err);
    instance->remove();
    return exit.value_or(Exit{-1, false, false});
  }
  bool is_vm() const { return GetParam() == "vm"; }
  bool is_metal() const { return GetParam() == "metal"; }

  const Paths paths_ = Paths::from_environment();
  Backend* backend_ = nullptr;
  std::unique_ptr<Timeline> timeline_;  // outlives the instance
  Census before_;
};

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

TEST_P(BackendContract, PauseHoldsTheWorkloadAndResumeLetsItGo) {
  const auto instance = start(shell("while :; do echo tick; usleep 5000; done"));
  ASSERT_TRUE(instance->log().wait_for_line(2, soon()));
  instance->pause();
  EXPECT_EQ(instance->state(), State::paused);
  std::this_thread::sleep_for(milliseconds(200));  // what was on its way arrives
  const auto held = instance->log().lines().size();
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(instance->log().lines().size(), held);
  instance->resume();
  EXPECT_EQ(instance->state(), State::running);
  EXPECT_TRUE(instance->log().wait_for_line(held + 2, soon()));
}

TEST_P(BackendContract, UsageGrowsWithWorkAndIsReadableAfterTheEnd) {
  const auto instance = start(shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 1000"));
  const Usage early = instance->usage();
  ASSERT_TRUE(instance->log().wait_for_line(0, soon()));
  const Usage busy = instance->usage();
  EXPECT_GT(busy.cpu.value(), early.cpu.value());
  EXPECT_GT(busy.memory.value(), 4_KiB);
  EXPECT_GE(busy.memory_peak.value(), busy.memory.value());
  EXPECT_GT(busy.memory_pss.value(), 4_KiB);  // shared pages count in parts
  EXPECT_GE(busy.processes.value(), 1U);
  EXPECT_TRUE(busy.switches_voluntary.has_value());
  instance->stop(milliseconds(100));
  EXPECT_GE(instance->usage().cpu.value(), busy.cpu.value());
  if (is_vm()) {
    EXPECT_GT(busy.guest_memory_used.value(), 1_MiB);
  }
}

TEST_P(BackendContract, MoreMemoryThanTheLimitIsToldAsOutOfMemory) {
  EXPECT_TRUE(run(shell("exec dd if=/dev/zero of=/dev/null bs=1M count=1")).ok());
  // tail keeps the last line, which has no end here: it grows in small steps, none of which a guest's kernel refuses.
  const auto exit = run(shell("exec tail -n 1 /dev/zero"));
  EXPECT_TRUE(exit.oom) << text_of(exit);
  EXPECT_EQ(exit.status(), 128 + SIGKILL) << text_of(exit);
}

TEST_P(BackendContract, ThePidsLimitHolds) {
  Workload workload = shell("for i in $(seq 1 60); do sleep 100 & done; echo all started");
  workload.limits.pids = 20;
  std::string out;
  const Exit exit = run(workload, &out);
  EXPECT_THAT(out, testing::Not(HasSubstr("all started")));
  EXPECT_FALSE(exit.ok());
}

TEST_P(BackendContract, LimitsChangeWhileItRunsOrAreRefusedByName) {
  const auto instance = start(shell("echo ready; while :; do :; done"));
  ASSERT_TRUE(instance->log().wait_for_line(0, soon()));
  const auto used = [&] {
    const auto before = instance->usage().cpu.value();
    std::this_thread::sleep_for(seconds(1));
    return instance->usage().cpu.value() - before;
  };
  const auto whole = used();
  Limits change;
  change.cpus = 0.2;
  instance->update(change);
  const auto part = used();
  EXPECT_LT(part, whole / 2);
  EXPECT_LT(part, milliseconds(400));
  change = {};
  change.memory = 256_MiB;
  change.pids = 128;
  if (is_vm()) {
    try {
      instance->update(change);
      FAIL() << "a guest's memory does not grow";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::unsuited);
      EXPECT_THAT(error.sentence(), HasSubstr("vm 'contract': limits.memory"));
    }
  } else {
    instance->update(change);
  }
  instance->stop(milliseconds(0));
  EXPECT_THROW(instance->update(change), Error);
}

TEST_P(BackendContract, AServerIsReachedFromTheHost) {
  Workload workload = probe_image({"probe", "serve", "--port=18471"});
  workload.ports = {18471};
  workload.network = Network::link;
  workload.ready.kind = Ready::Kind::http;
  workload.ready.port = 18471;
  const auto instance = start(workload);
  EXPECT_EQ(instance->address() == "127.0.0.1", is_metal());
  await_ready(*instance, workload.ready, *timeline_, soon());
  EXPECT_GE(*timeline_->at(Mark::ready), *timeline_->at(Mark::executed));
  EXPECT_EQ(timeline_->at(Mark::ready), timeline_->at(Mark::responded));
  if (!is_metal()) {
    EXPECT_GT(instance->usage().network_receive.value().count, 0U);
    EXPECT_GT(instance->usage().network_transmit.value().count, 0U);
  }
}

TEST_P(BackendContract, ReadyIsAPortThatAccepts) {
  Workload workload = probe_image({"probe", "serve", "--port=18472"});
  workload.ports = {18472};
  workload.network = Network::link;
  workload.ready.kind = Ready::Kind::tcp;
  workload.ready.port = 18472;
  const auto instance = start(workload);
  await_ready(*instance, workload.ready, *timeline_, soon());
  EXPECT_GE(*timeline_->at(Mark::ready), *timeline_->at(Mark::executed));
  EXPECT_EQ(timeline_->at(Mark::responded), std::nullopt) << "a connection is no answer";
}

TEST_P(BackendContract, ReadyIsALineOfTheOutput) {
  Workload workload = shell("echo not yet; usleep 300000; echo up and running; sleep 1000");
  workload.ready.kind = Ready::Kind::log;
  workload.ready.pattern = "up and";
  const auto instance = start(workload);
  await_ready(*instance, workload.ready, *timeline_, soon());
  EXPECT_GE(*timeline_->at(Mark::ready) - *timeline_->at(Mark::executed), milliseconds(200));
  EXPECT_EQ(timeline_->at(Mark::ready), timeline_->at(Mark::responded));
}

TEST_P(BackendContract, ReadyIsACommandInsideThatEndsWell) {
  Workload workload = shell("usleep 300000; touch /tmp/up; sleep 1000");
  workload.ready.kind = Ready::Kind::exec;
  workload.ready.command = {"test", "-e", "/tmp/up"};
  const auto instance = start(workload);
  await_ready(*instance, workload.ready, *timeline_, soon());
  EXPECT_GE(*timeline_->at(Mark::ready) - *timeline_->at(Mark::executed), milliseconds(200));
  EXPECT_EQ(instance->exec({"test", "-e", "/tmp/up"}, soon()).exit, (Exit{0, false, false}));
}

TEST_P(BackendContract, WithoutANetworkThereIsOnlyLoopback) {
  std::string out;
  EXPECT_TRUE(run(shell("ls /sys/class/net"), &out).ok());
  if (is_metal()) {  // it has the host's network by definition
    for (const auto& entry : std::filesystem::directory_iterator("/sys/class/net")) {
      EXPECT_THAT("\n" + out, HasSubstr("\n" + entry.path().filename().string() + "\n"));
    }
  } else {
    EXPECT_EQ(out, "lo\n");
  }
}

TEST_P(BackendContract, WhatAnInstanceWritesIsItsOwn) {
  EXPECT_TRUE(run(shell("echo changed > /etc/group; touch /work/new; sync")).ok());
  EXPECT_FALSE(std::filesystem::exists(busybox().path() / "work/new"));
  std::string out;
  EXPECT_TRUE(run(shell("cat /etc/group; ls /work"), &out).ok());
  EXPECT_EQ(out, "root:x:0:\nnot-executable\n");
}

TEST_P(BackendContract, ACommandThatIsNotInTheImageIsNamed) {
  Workload workload = shell("");
  workload.command = {"no-such-command"};
  try {
    start(workload);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::not_found);
    EXPECT_THAT(error.sentence(), HasSubstr("no-such-command"));
    EXPECT_THAT(error.sentence(), HasSubstr(workload.image));
  }
}

TEST_P(BackendContract, ACommandThatIsNoProgramIsNamed) {
  Workload workload = shell("");
  workload.command = {"/work/not-executable"};
  try {
    start(workload);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("not-executable"));
  }
}

TEST_P(BackendContract, AnImageThatDoesNotExistIsNamed) {
  Workload workload = shell("true");
  workload.image = "no/such-image";
  try {
    start(workload);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::not_found);
    EXPECT_THAT(error.sentence(), HasSubstr("no/such-image"));
  }
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
  EXPECT_EQ(census(paths_), before_);
}

TEST_P(BackendContract, RemoveIsIdempotentAndMarksRemoved) {
  const auto instance = start(shell("sleep 1000"));
  instance->remove();
  EXPECT_EQ(instance->state(), State::removed);
  EXPECT_EQ(census(paths_), before_);
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

INSTANTIATE_TEST_SUITE_P(Real, BackendContract, testing::Values("metal", "container", "vm"),
                         [](const auto& backend) { return backend.param; });

}  // namespace
}  // namespace tare
