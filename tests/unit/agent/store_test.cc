// SPDX-License-Identifier: Apache-2.0
#include "agent/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "agent/sqlite.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent {
namespace {

using testing::ElementsAre;

const std::string kSuite =
    "name: s\nworkloads:\n  w: {image: tare/probe, command: [noop], ready: exit}\nexperiments:\n  - {name: e, measure: start, workload: "
    "w}\n";

bench::TrialRecord trial(int number) {
  bench::TrialRecord out;
  out.planned.number = number;
  out.planned.block = number;
  out.planned.backend = "metal";
  out.experiment = "e";
  out.workload = "w";
  out.variant = "cold";
  out.state = "ok";
  out.seconds = 0.5;
  bench::Sample sample{"r", number, number, "metal", "cold", "w", "e", "mark.ready", "s", 0.1 * number, "ok"};
  out.samples = {sample};
  sample.metric = "usage.cpu";
  sample.value.reset();
  out.samples.push_back(sample);
  return out;
}

class StoreTest : public testing::Test {
 protected:
  void begin(Store& store) { store.begin_run("r", bench::load_suite(kSuite, "s.yaml"), {}, 18446744073709551615U); }
  std::filesystem::path path() const { return dir_.path() / "tare.db"; }
  TempDir dir_;
};

TEST_F(StoreTest, GivesARunBackAsItWas) {
  Store store(path());
  begin(store);
  store.add_trial("r", trial(1), "{}");
  bench::RunRecord record;
  record.id = "r";
  record.warnings = {"noisy"};
  record.agent_cost = {1.5, 100, 2};
  record.backends = {{"metal", Probe{true, "", "", false, "fake", "", {{"k", "v"}}}, {{"namespaces", "none"}}}};
  store.end_run(record, "ok", "");
  const Store::Loaded loaded = store.load("r");
  EXPECT_EQ(loaded.suite.text, kSuite);
  EXPECT_EQ(loaded.record.seed, 18446744073709551615U);
  EXPECT_EQ(loaded.record.outcome, bench::Outcome::ok);
  EXPECT_THAT(loaded.record.warnings, ElementsAre("noisy"));
  EXPECT_EQ(loaded.record.agent_cost.cpu_seconds, 1.5);
  ASSERT_EQ(loaded.record.backends.size(), 1U);
  EXPECT_EQ(loaded.record.backends[0].probe.details.at("k"), "v");
  EXPECT_EQ(loaded.record.backends[0].protections.at("namespaces"), "none");
  ASSERT_EQ(loaded.record.trials.size(), 1U);
  ASSERT_EQ(loaded.record.trials[0].samples.size(), 2U);
  EXPECT_EQ(bench::csv_line(loaded.record.trials[0].samples[0]), bench::csv_line(trial(1).samples[0]));
  EXPECT_FALSE(loaded.record.trials[0].samples[1].value);
}

TEST_F(StoreTest, NumbersEventsFromOneInEachRun) {
  Store store(path());
  begin(store);
  store.add_event("r", "warning", "{}");
  store.add_trial("r", trial(1), "{\"number\":1}");
  const auto events = store.events("r", 1, 10);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].id, 2);
  EXPECT_EQ(events[0].trial, 1);
}

// The child tells each number only after the store has acknowledged it; SIGKILL comes at any moment.
TEST_F(StoreTest, WhatWasAcknowledgedSurvivesAKill) {
  int told[2];
  ASSERT_EQ(::pipe(told), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    Store store(path());
    begin(store);
    for (int number = 1;; ++number) {
      store.add_trial("r", trial(number), "{}");
      if (::write(told[1], &number, sizeof number) != sizeof number) ::_exit(1);
    }
  }
  ::close(told[1]);
  int last = 0;
  while (last < 60) ASSERT_EQ(::read(told[0], &last, sizeof last), static_cast<ssize_t>(sizeof last));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  while (::read(told[0], &last, sizeof last) == static_cast<ssize_t>(sizeof last)) {
  }
  ::close(told[0]);
  Store store(path());
  EXPECT_THAT(store.mark_interrupted(), ElementsAre("r"));
  EXPECT_EQ(store.find("r")->state, "interrupted");
  const auto samples = store.samples("r");
  ASSERT_GE(samples.size(), static_cast<std::size_t>(2 * last));
  for (std::size_t i = 0; i < samples.size(); i += 2) EXPECT_EQ(samples[i].trial, static_cast<int>(i / 2) + 1);
  EXPECT_EQ(store.events("r", 0, 100000).back().kind, "finished");
}

TEST_F(StoreTest, AnAgentThatIsAZombieHasEnded) {
  const pid_t child = ::fork();
  if (child == 0) {
    Store store(path());
    begin(store);
    ::_exit(0);
  }
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  Store store(path());
  EXPECT_THAT(store.mark_interrupted(), ElementsAre("r"));
  ::waitpid(child, nullptr, 0);
}

TEST_F(StoreTest, LeavesARunAloneWhoseAgentLives) {
  Store store(path());
  begin(store);
  Store other(path());
  EXPECT_TRUE(other.mark_interrupted().empty());
  EXPECT_EQ(other.find("r")->state, "running");
}

TEST_F(StoreTest, OneWritesAtATimeAndAllRead) {
  Store first(path());
  Store second(path());
  begin(first);
  const auto begin_second = [&] { second.begin_run("s", bench::load_suite(kSuite, "s.yaml"), {}, 1, std::chrono::milliseconds(10)); };
  try {
    begin_second();
    FAIL() << "two write";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::conflict);
  }
  first.add_trial("r", trial(1), "{}");
  EXPECT_EQ(second.samples("r").size(), 2U);
  EXPECT_THROW(second.add_trial("s", trial(1), "{}"), Error);
  bench::RunRecord record;
  record.id = "r";
  first.end_run(record, "ok", "");
  EXPECT_EQ(std::filesystem::file_size(path().string() + "-wal"), 0U);  // nothing is left for the next one to recover
  begin_second();
  EXPECT_EQ(first.find("s")->state, "running");
}

TEST_F(StoreTest, ARunWhoseEndCannotBeStoredLeavesTheDatabaseToOthers) {
  Store store(path());
  begin(store);
  bench::RunRecord record;
  record.id = "r";
  Connection meddler(path(), false);
  meddler.run("DROP TABLE events");
  EXPECT_THROW(store.end_run(record, "ok", ""), Error);
  EXPECT_NO_THROW(store.begin_run("s", bench::load_suite(kSuite, "s.yaml"), {}, 1, std::chrono::milliseconds(0)));
}

TEST_F(StoreTest, NamesTheFileWhenItIsNoDatabase) {
  std::ofstream(path()) << std::string(4096, 'x');
  try {
    const Store store(path());
    FAIL() << "it was opened";
  } catch (const Error& e) {
    EXPECT_NE(e.sentence().find(path().string()), std::string::npos);
  }
}

TEST_F(StoreTest, AnUnknownRunIsNotFound) {
  const Store store(path());
  EXPECT_FALSE(store.find("x"));
  EXPECT_THROW(store.load("x"), Error);
}

}  // namespace
}  // namespace tare::agent
