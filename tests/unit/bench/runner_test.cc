// SPDX-License-Identifier: Apache-2.0
#include "bench/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "tests/fakes/fake_backend.h"

namespace tare::bench {
namespace {

using fakes::FakeBackend;
using fakes::Script;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kProbeJson =
    "{\"benchmarks\": [{\"name\": \"syscall\", \"run_name\": \"syscall\", \"run_type\": \"iteration\", \"real_time\": 70, \"cpu_time\": "
    "69, "
    "\"time_unit\": \"ns\"}]}\n";

/// What the runner told, in order.
class Told : public Observer {
 public:
  void trial_started(const PlannedTrial& trial, int total) override {
    started.push_back(trial.number);
    planned = total;
    if (on_start) on_start(trial);
  }
  void trial_finished(const TrialRecord& trial, int) override { finished.push_back(trial.planned.number); }
  void warning(const std::string& sentence) override { warnings.push_back(sentence); }
  void preparing(const std::string& backend, const std::string& workload) override { prepared.push_back(backend + "/" + workload); }

  std::vector<int> started;
  std::vector<int> finished;
  std::vector<std::string> warnings;
  std::vector<std::string> prepared;
  int planned = 0;
  std::function<void(const PlannedTrial&)> on_start;
};

class RunnerTest : public testing::Test {
 protected:
  RunnerTest() {
    Workload serve;
    serve.name = "serve";
    serve.ready.kind = Ready::Kind::log;
    serve.ready.pattern = "up";
    Workload noop;
    noop.name = "noop";
    noop.ready.kind = Ready::Kind::exit;
    suite.backends = {"metal", "container"};
    suite.workloads = {{"serve", serve}, {"noop", noop}};
    Experiment start;
    start.name = "start";
    start.workload = "serve";
    start.trials = 2;
    start.warmup = 1;
    start.settle = milliseconds(0);
    start.timeout = seconds(20);
    suite.experiments = {start};
    for (FakeBackend* backend : {&metal, &container}) {
      backend->behaviour = [](const Workload& workload, int) { return usual(workload); };
    }
    options.id = "run-1";
    options.seed = 7;
    options.root = root.path();  // empty: no noise is seen
  }

  static Script usual(const Workload& workload) {
    Script script;
    script.executed = milliseconds(2);
    script.output = "up\n";
    script.usage.cpu = milliseconds(3);
    script.usage.memory_peak = 2_MiB;
    script.protections["namespaces"] = "mount";
    if (workload.ready.kind == Ready::Kind::exit) script.exits = milliseconds(1);
    return script;
  }

  RunRecord go() { return run(suite, {&metal, &container}, options, told, stop.get_token()); }

  static std::vector<std::string> metrics_of(const TrialRecord& trial) {
    std::vector<std::string> out;
    for (const Sample& sample : trial.samples) out.push_back(sample.metric);
    return out;
  }

  TempDir root;
  Suite suite;
  FakeBackend metal{"metal"};
  FakeBackend container{"container"};
  RunOptions options;
  Told told;
  std::stop_source stop;
};

TEST_F(RunnerTest, MeasuresEveryPlannedTrialInItsOrder) {
  const RunRecord record = go();
  EXPECT_EQ(record.outcome, Outcome::ok);
  EXPECT_EQ(record.trials.size(), 6U);
  EXPECT_THAT(told.started, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(told.finished, told.started) << "each trial is told before the next begins";
  EXPECT_EQ(told.planned, 6);
  for (const TrialRecord& trial : record.trials) EXPECT_EQ(trial.state, "ok") << trial.sentence;
  EXPECT_EQ(metal.alive() + container.alive(), 0);
}

TEST_F(RunnerTest, AStartGivesItsMarksItsStopAndItsUsage) {
  const RunRecord record = go();
  EXPECT_THAT(metrics_of(record.trials.front()),
              ElementsAre("mark.prepared", "mark.launched", "mark.executed", "mark.ready", "mark.responded", "mark.stopping", "mark.exited",
                          "mark.removed", "phase.prepare", "phase.launch", "phase.execute", "phase.ready", "stop.exited", "stop.removed",
                          "usage.cpu", "usage.memory_peak"))
      << "a mark the backend does not have is absent";
  for (const Sample& sample : record.trials.front().samples) {
    EXPECT_EQ(sample.run, "run-1");
    EXPECT_EQ(sample.state, "ok");
    EXPECT_TRUE(sample.value.has_value()) << sample.metric;
    if (sample.metric == "mark.executed") {
      EXPECT_GE(*sample.value, 0.002);
      EXPECT_EQ(sample.unit, "s");
    }
    if (sample.metric == "usage.memory_peak") {
      EXPECT_EQ(sample.value, 2097152.0);
    } else if (sample.metric == "usage.cpu") {
      EXPECT_EQ(sample.value, 0.003);
    }
  }
}

TEST_F(RunnerTest, MarksOfAGuestComeWithTheErrorBoundOfItsClock) {
  container.behaviour = [](const Workload& workload, int) {
    Script script = usual(workload);
    script.kernel = milliseconds(1);
    script.clock_error = std::chrono::microseconds(250);
    return script;
  };
  for (const TrialRecord& trial : go().trials) {
    const auto found =
        std::find_if(trial.samples.begin(), trial.samples.end(), [](const Sample& sample) { return sample.metric == "clock.error_bound"; });
    ASSERT_EQ(found != trial.samples.end(), trial.planned.backend == "container");
    if (found == trial.samples.end()) continue;
    EXPECT_EQ(found->value, 0.00025);
    EXPECT_EQ(found->unit, "s");
  }
}

TEST_F(RunnerTest, TheCounterpartIsMeasuredUnderItsOwnName) {
  suite.experiments[0].empty = "noop";
  const RunRecord record = go();
  ASSERT_EQ(record.trials.size(), 12U);
  const auto empties = std::count_if(record.trials.begin(), record.trials.end(), [](const TrialRecord& trial) {
    return trial.planned.empty && trial.workload == "noop" && trial.variant == "cold" && trial.state == "ok";
  });
  EXPECT_EQ(empties, 6);
  EXPECT_THAT(told.prepared, ElementsAre("metal/noop", "metal/serve", "container/noop", "container/serve"));
}

TEST_F(RunnerTest, ALaneIsItsBackendWithAnotherStartAndBothAreNamed) {
  suite.backends = {"metal", "container:zygote"};
  const RunRecord record = go();
  for (const TrialRecord& trial : record.trials) {
    const bool zygote = trial.planned.backend == "container:zygote";
    EXPECT_EQ(trial.variant, zygote ? "zygote" : "cold");
    EXPECT_EQ(trial.state, "ok");
    EXPECT_EQ(trial.samples.front().backend, zygote ? "container" : "metal");
    EXPECT_EQ(trial.samples.front().variant, trial.variant);
  }
  EXPECT_GT(container.prepared_workloads().size(), metal.prepared_workloads().size()) << "what a trial took is there again for the next";
}

TEST_F(RunnerTest, AStartThatWasColdAfterAllIsNoSampleOfItsVariant) {
  suite.backends = {"container:pooled"};
  container.behaviour = [](const Workload& workload, int) {
    Script script = usual(workload);
    script.started_as = Start::cold;
    return script;
  };
  const TrialRecord trial = go().trials.front();
  EXPECT_EQ(trial.state, "invalid:start");
  EXPECT_THAT(trial.sentence, HasSubstr("it was cold and not pooled"));
}

TEST_F(RunnerTest, AProbeGivesOneSampleABenchmark) {
  suite.experiments[0].measure = Experiment::Measure::probe;
  suite.experiments[0].workload = "noop";
  metal.behaviour = container.behaviour = [](const Workload&, int) {
    Script script;
    script.exits = milliseconds(1);
    script.output = kProbeJson;
    return script;
  };
  const RunRecord record = go();
  EXPECT_THAT(metrics_of(record.trials.front()), ElementsAre("probe.syscall", "probe.syscall.cpu"));
  EXPECT_EQ(record.trials.front().raw_output, kProbeJson) << "what was parsed is kept";
}

TEST_F(RunnerTest, AnOutputThatIsNoResultFailsTheTrialAndIsKept) {
  suite.experiments[0].measure = Experiment::Measure::probe;
  suite.experiments[0].workload = "noop";
  const RunRecord record = go();
  EXPECT_EQ(record.trials.front().state, "failed:failed");
  EXPECT_THAT(record.trials.front().sentence, HasSubstr("no line begins with '{'"));
  EXPECT_EQ(record.trials.front().raw_output, "up\n");
}

TEST_F(RunnerTest, AFailedTrialIsARecordAndTheRunGoesOn) {
  container.behaviour = [](const Workload& workload, int started) {
    Script script = usual(workload);
    if (started == 2) script.start_fails = Error(Code::unavailable, "container: mounts: no such file", "look");
    return script;
  };
  const RunRecord record = go();
  EXPECT_EQ(record.outcome, Outcome::failed);
  EXPECT_EQ(record.trials.size(), 6U);
  const auto failed = std::find_if(record.trials.begin(), record.trials.end(), [](const TrialRecord& t) { return t.state != "ok"; });
  ASSERT_NE(failed, record.trials.end());
  EXPECT_EQ(failed->state, "failed:unavailable");
  EXPECT_EQ(failed->sentence, "container: mounts: no such file");
  EXPECT_EQ(failed->hint, "look");
  ASSERT_EQ(failed->samples.size(), 1U);
  EXPECT_EQ(failed->samples[0].metric, "mark.ready");
  EXPECT_EQ(failed->samples[0].value, std::nullopt);
  EXPECT_EQ(failed->samples[0].state, "failed:unavailable");
}

TEST_F(RunnerTest, AFailedWarmUpDoesNotFailTheRun) {
  container.behaviour = [](const Workload& workload, int started) {
    Script script = usual(workload);
    if (started == 1) script.start_fails = Error(Code::failed, "not yet");
    return script;
  };
  EXPECT_EQ(go().outcome, Outcome::ok);
}

TEST_F(RunnerTest, ThreeEqualFailuresEndTheTrialsOfThatWorkloadAlone) {
  suite.experiments[0].trials = 10;
  suite.experiments[0].empty = "noop";
  container.behaviour = [](const Workload& workload, int) {
    Script script = usual(workload);
    // Ends before it is ready: the sentence holds the instance's id, which differs each time.
    if (workload.name == "serve") {
      script.output.clear();
      script.exits = milliseconds(0);
      script.exit.code = 3;
    }
    return script;
  };
  const RunRecord record = go();
  EXPECT_EQ(record.trials.size(), 44U) << "every planned trial has its record";
  EXPECT_EQ(container.started(), 3 + 11) << "three of serve, all of noop";
  EXPECT_EQ(metal.started(), 22);
  EXPECT_THAT(record.warnings, Contains(HasSubstr("container: workload 'serve' failed 3 times in a row with the same cause")));
  const auto skipped = std::count_if(record.trials.begin(), record.trials.end(), [](const TrialRecord& trial) {
    return trial.state == "failed:failed" && trial.sentence.rfind("skipped after 3 equal failures: ", 0) == 0;
  });
  EXPECT_EQ(skipped, 8);
}

TEST_F(RunnerTest, FailuresOfDifferentCauseAreAllTried) {
  suite.experiments[0].trials = 5;
  container.behaviour = [](const Workload& workload, int started) {
    Script script = usual(workload);
    script.start_fails = Error(Code::failed, started % 2 == 0 ? "this" : "that");
    return script;
  };
  go();
  EXPECT_EQ(container.started(), 6);
}

TEST_F(RunnerTest, AWorkloadThatCannotBePreparedIsNotStarted) {
  container.prepare_fails = Error(Code::not_found, "no image 'x'", "pull it");
  const RunRecord record = go();
  EXPECT_EQ(container.started(), 0);
  EXPECT_EQ(metal.started(), 3);
  EXPECT_EQ(record.outcome, Outcome::failed);
  EXPECT_EQ(std::count_if(record.trials.begin(), record.trials.end(), [](const TrialRecord& t) { return t.state == "failed:not_found"; }),
            3);
}

TEST_F(RunnerTest, AnUnableBackendHasNoTrialsAndAReason) {
  container.probe_result.able = false;
  container.probe_result.reason = "no controller 'memory'";
  container.probe_result.remedy = "mount it";
  const RunRecord record = go();
  EXPECT_EQ(record.trials.size(), 3U);
  EXPECT_EQ(record.outcome, Outcome::ok) << "what can be measured was";
  ASSERT_EQ(record.backends.size(), 2U);
  EXPECT_EQ(record.backends[1].probe.reason, "no controller 'memory'");
  EXPECT_THAT(record.warnings, Contains("container is not measured: no controller 'memory' (mount it)"));
}

TEST_F(RunnerTest, NoAbleBackendIsAFailedRun) {
  metal.probe_result.able = container.probe_result.able = false;
  EXPECT_EQ(go().outcome, Outcome::failed);
}

TEST_F(RunnerTest, ABackendThatIsNotThereIsSaidToBeMissing) {
  suite.backends = {"metal", "vm"};
  const RunRecord record = go();
  EXPECT_EQ(record.backends[1].name, "vm");
  EXPECT_FALSE(record.backends[1].probe.able);
  EXPECT_THAT(record.backends[1].probe.reason, HasSubstr("no backend 'vm'"));
}

TEST_F(RunnerTest, AWorkloadThatIsNeverReadyRunsIntoTheTrialsTimeout) {
  suite.experiments[0].timeout = milliseconds(60);
  suite.experiments[0].trials = 1;
  suite.experiments[0].warmup = 0;
  container.behaviour = [](const Workload&, int) { return Script(); };
  const Instant begin = Instant::now();
  const RunRecord record = go();
  EXPECT_LT(Instant::now() - begin, seconds(5));
  const auto& trial =
      *std::find_if(record.trials.begin(), record.trials.end(), [](const TrialRecord& t) { return t.planned.backend == "container"; });
  EXPECT_EQ(trial.state, "failed:timeout");
  EXPECT_THAT(trial.sentence, HasSubstr("was not ready in time"));
  EXPECT_EQ(container.alive(), 0);
}

TEST_F(RunnerTest, MarksOutOfOrderAreInvalid) {
  container.behaviour = [](const Workload& workload, int) {
    Script script = usual(workload);
    script.disordered = true;
    script.prepared = milliseconds(1);
    return script;
  };
  const RunRecord record = go();
  EXPECT_EQ(record.outcome, Outcome::ok);
  for (const TrialRecord& trial : record.trials) {
    if (trial.planned.backend != "container") continue;
    EXPECT_EQ(trial.state, "invalid:disorder");
    EXPECT_THAT(trial.sentence, HasSubstr("launched before prepared"));
    EXPECT_EQ(trial.samples.front().state, "invalid:disorder");
  }
}

TEST_F(RunnerTest, WhatCouldNotBeRemovedIsSaid) {
  container.behaviour = [](const Workload& workload, int started) {
    Script script = usual(workload);
    if (started == 2) script.remove_fails = Error(Code::internal, "the control group stayed");
    return script;
  };
  const RunRecord record = go();
  const auto failed = std::count_if(record.trials.begin(), record.trials.end(),
                                    [](const TrialRecord& t) { return t.sentence == "the control group stayed"; });
  EXPECT_EQ(failed, 1);
}

TEST_F(RunnerTest, ARequestToStopEndsTheTrialAtOnceAndDoesNotCountIt) {
  suite.experiments[0].trials = 50;
  metal.behaviour = container.behaviour = [](const Workload&, int started) {
    Script script;
    if (started < 2) script.output = "up\n";  // later ones are never ready
    return script;
  };
  std::jthread canceler;
  told.on_start = [&](const PlannedTrial& trial) {
    if (trial.number != 3) return;
    canceler = std::jthread([this] {
      std::this_thread::sleep_for(milliseconds(50));
      stop.request_stop();
    });
  };
  const Instant begin = Instant::now();
  const RunRecord record = go();
  EXPECT_LT(Instant::now() - begin, seconds(10)) << "the trial's timeout of 20 s was not waited for";
  EXPECT_EQ(record.outcome, Outcome::canceled);
  EXPECT_EQ(record.trials.size(), 2U);
  EXPECT_EQ(told.finished.size(), record.trials.size());
  EXPECT_EQ(metal.alive() + container.alive(), 0);
}

TEST_F(RunnerTest, StopDuringTheSettleGapDoesNotStartATrial) {
  suite.experiments[0].settle = seconds(30);
  told.on_start = [&](const PlannedTrial&) { stop.request_stop(); };
  const RunRecord record = go();
  EXPECT_EQ(metal.started() + container.started(), 0);
  EXPECT_EQ(record.outcome, Outcome::canceled);
}

TEST_F(RunnerTest, StealMarksATrialSuspectAndKeepsItsValues) {
  std::filesystem::create_directories(root.path() / "proc");
  int reading = 0;
  const auto write_stat = [&] {
    // Each start adds 2 s of steal on one CPU.
    const std::string numbers = "1000 0 1000 9000 0 0 0 " + std::to_string(200 * reading++) + " 0 0\n";
    write_file_atomic(root.path() / "proc/stat", "cpu  " + numbers + "cpu0 " + numbers);
  };
  write_stat();
  metal.behaviour = [&](const Workload& workload, int) {
    write_stat();
    return usual(workload);
  };
  const RunRecord record = go();
  EXPECT_EQ(record.outcome, Outcome::ok);
  for (const TrialRecord& trial : record.trials) {
    EXPECT_EQ(trial.state, trial.planned.backend == "metal" ? "suspect:steal" : "ok");
    EXPECT_TRUE(trial.samples.front().value.has_value());
  }
}

TEST_F(RunnerTest, ForeignCpuIsWhatNeitherInstanceNorAgentUsed) {
  std::filesystem::create_directories(root.path() / "proc");
  int ticks = 0;
  const auto write_stat = [&] {
    write_file_atomic(root.path() / "proc/stat", "cpu  " + std::to_string(ticks) + " 0 0 0 0 0 0 0 0 0\ncpu0 0\n");
  };
  write_stat();
  double agent = 0;
  options.agent_cost = [&] { return AgentCost{agent, 4096, 0}; };
  container.behaviour = [&](const Workload& workload, int) {
    ticks += 100;  // 1 s, of which the instance has used 0.58 and the agent 0.4
    write_stat();
    agent += 0.4;
    Script script = usual(workload);
    script.usage.cpu = milliseconds(580);
    return script;
  };
  metal.behaviour = [&](const Workload& workload, int) {
    ticks += 100;
    write_stat();
    return usual(workload);
  };
  const RunRecord record = go();
  for (const TrialRecord& trial : record.trials) {
    EXPECT_EQ(trial.state, trial.planned.backend == "metal" ? "suspect:foreign-cpu" : "ok") << trial.sentence;
  }
  EXPECT_NEAR(record.agent_cost.cpu_seconds, 1.2, 1e-9) << "the difference over the run";
  EXPECT_EQ(record.agent_cost.memory_bytes, 4096);
}

TEST_F(RunnerTest, AnEmulatedBackendIsWarnedOf) {
  container.probe_result.emulated = true;
  container.probe_result.reason = "KVM does not finish a boot";
  EXPECT_THAT(go().warnings, Contains(StartsWith("container is emulated: KVM does not finish a boot")));
}

TEST_F(RunnerTest, KeepsTheProtectionsOfTheInstances) {
  const RunRecord record = go();
  EXPECT_EQ(record.backends[0].protections.at("namespaces"), "mount");
}

TEST_F(RunnerTest, KeepsWhatDiffersInTheProtectionsOfFurtherWorkloads) {
  suite.experiments.front().empty = "noop";
  container.behaviour = [](const Workload& workload, int) {
    Script script = usual(workload);
    script.protections["profile"] = workload.name == "noop" ? "default" : "tuned";
    return script;
  };
  const RunRecord record = go();
  const auto& kept = record.backends[1].protections;
  EXPECT_EQ(kept.size(), 3U) << "what both have is there once";
  const std::string first = kept.at("profile");
  EXPECT_EQ(kept.at(first == "tuned" ? "profile (noop)" : "profile (serve)"), first == "tuned" ? "default" : "tuned");
}

TEST_F(RunnerTest, WarnsOfWhatAnInstanceRemarksOnceForEachWorkload) {
  container.behaviour = [](const Workload& workload, int) {
    Script script = usual(workload);
    script.remarks = {"its profile has no hugepages"};
    return script;
  };
  EXPECT_THAT(go().warnings, ElementsAre("container: workload 'serve': its profile has no hugepages"));
  EXPECT_EQ(told.warnings.size(), 1U) << "it is told at once";
}

}  // namespace
}  // namespace tare::bench
