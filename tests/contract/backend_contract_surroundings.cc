// SPDX-License-Identifier: Apache-2.0
// What every backend promises of a workload's surroundings: pause, usage, limits, network, readiness, and the words when something is
// missing.
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
  const auto instance = start(shell(
      "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 1000; true"));  // not its last command, which a shell may become
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
  EXPECT_TRUE(run(shell("echo changed > /etc/group; touch /job/new; sync")).ok());
  EXPECT_FALSE(std::filesystem::exists(busybox().path() / "job/new"));
  std::string out;
  EXPECT_TRUE(run(shell("cat /etc/group; ls /job"), &out).ok());
  EXPECT_EQ(out, read_file(busybox().path() / "etc/group") + "not-executable\n");
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
  workload.command = {"/job/not-executable"};
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

}  // namespace
}  // namespace tare::contract
