// SPDX-License-Identifier: Apache-2.0
#include "bench/result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"

namespace tare::bench {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

// Compares with tests/golden/<name>; TARE_WRITE_GOLDEN=1 writes it instead, and the test fails so that nobody forgets to look at it.
void expect_golden(const std::string& name, const std::string& text) {
  const std::filesystem::path path = std::filesystem::path(TARE_SOURCE_DIR) / "tests/golden" / name;
  if (std::getenv("TARE_WRITE_GOLDEN") != nullptr) {  // NOLINT(concurrency-mt-unsafe)
    write_file_atomic(path, text);
    ADD_FAILURE() << name << " was written";
    return;
  }
  EXPECT_EQ(try_read_file(path).value_or(""), text) << name;
}

class ResultTest : public testing::Test {
 protected:
  ResultTest() {
    suite.name = "quickstart";
    suite.description = "starts";
    suite.text = "name: quickstart\n";
    suite.digest = "sha256:00";
    suite.workloads["serve"].name = "serve";
    suite.workloads["noop"].name = "noop";
    run.id = "run-1";
    run.seed = 7;
    run.started_at = "2026-01-17T10:15:00Z";
    run.wall_seconds = 12.5;
    run.agent_cost = {0.25, 33554432, 12.5};
    for (const char* name : {"metal", "container", "vm"}) {
      BackendInfo info{name, {}, {}};
      info.probe.able = true;
      info.probe.implementation = name == std::string("vm") ? "qemu via libvirt" : "namespaces";
      run.backends.push_back(info);
    }
    run.backends[2].probe.emulated = true;
    run.backends[2].probe.accelerator = "tcg";
    run.backends[1].protections["namespaces"] = "mount,pid";
    host.facts = {{"cpu.model", "Example | CPU"}, {"kernel.release", "6.1"}};
    host.warnings = {"turbo is on: turn it off"};
    host.checks = {{"turbo", false, "turbo is on", "turn it off"}, {"load", true, "no load", ""}};
  }

  Experiment& add_experiment(const std::string& name, Experiment::Measure measure = Experiment::Measure::start) {
    Experiment experiment;
    experiment.name = name;
    experiment.measure = measure;
    experiment.workload = "serve";
    suite.experiments.push_back(experiment);
    return suite.experiments.back();
  }

  TrialRecord& add_trial(const std::string& backend, int block, const std::vector<std::pair<std::string, double>>& values,
                         bool empty = false) {
    TrialRecord trial;
    trial.planned = {static_cast<int>(run.trials.size()) + 1, block, suite.experiments.size() - 1, backend, empty};
    trial.experiment = suite.experiments.back().name;
    trial.workload = empty ? "noop" : "serve";
    trial.variant = "cold";
    trial.state = "ok";
    for (const auto& [metric, value] : values) {
      Sample sample;
      sample.metric = metric;
      sample.unit = metric.rfind("mark.", 0) == 0 || metric.rfind("clock.", 0) == 0 ? "s"
                    : metric.rfind("probe.", 0) == 0                                ? "ns/op"
                                                                                    : "bytes";
      sample.value = value;
      trial.samples.push_back(sample);
    }
    run.trials.push_back(trial);
    return run.trials.back();
  }

  // Twelve blocks: the container takes 1.5 times metal's time, the VM 20 times, with a drift from block to block that hits all alike.
  void fill_start() {
    add_experiment("start").empty = "noop";
    add_trial("metal", 0, {{"mark.ready", 99}});
    for (int block = 1; block <= 12; ++block) {
      const double drift = 1 + 0.1 * std::abs(6.5 - block);
      add_trial("metal", block,
                {{"mark.executed", 0.002 * drift}, {"mark.ready", 0.010 * drift}, {"usage.memory_peak", 1048576.0 * block}});
      add_trial("metal", block, {{"mark.executed", 0.002 * drift}, {"mark.ready", 0.004 * drift}, {"usage.memory_peak", 524288.0 * block}},
                true);
      add_trial("container", block,
                {{"mark.executed", 0.003 * drift}, {"mark.ready", 0.015 * drift}, {"usage.memory_peak", 1048576.0 * block}});
      add_trial("container", block,
                {{"mark.executed", 0.003 * drift}, {"mark.ready", 0.009 * drift}, {"usage.memory_peak", 524288.0 * block}}, true);
      add_trial("vm", block,
                {{"mark.kernel", 0.09 * drift},
                 {"mark.executed", 0.15 * drift},
                 {"mark.ready", 0.2 * drift},
                 {"clock.error_bound", 0.00001 * block},
                 {"usage.memory_peak", 134217728.0}});
      add_trial("vm", block,
                {{"mark.kernel", 0.09 * drift},
                 {"mark.executed", 0.15 * drift},
                 {"mark.ready", 0.16 * drift},
                 {"usage.memory_peak", 134217728.0}},
                true);
    }
    run.trials[5].state = "suspect:steal";
    TrialRecord& failed = run.trials[20];
    failed.state = "failed:timeout";
    failed.sentence = "it was not ready in time";
    failed.samples.clear();
  }

  const Comparison& find(const Result& result, const std::string& metric, const std::string& kind) {
    for (const ExperimentResult& experiment : result.experiments) {
      for (const Comparison& comparison : experiment.comparisons) {
        if (comparison.metric == metric && comparison.kind == kind) return comparison;
      }
    }
    throw Error(Code::not_found, "no comparison of " + metric + ", " + kind);
  }

  Suite suite;
  RunRecord run;
  HostContext host;
};

TEST_F(ResultTest, APlantedRatioIsFoundThroughDrift) {
  fill_start();
  const Result result = analyse(suite, run, host);
  const Summary& container = find(result, "mark.ready", "gross").backends.at("container");
  EXPECT_NEAR(*container.ratio, 1.5, 1e-12);
  EXPECT_NEAR(container.ratio_ci95->low, 1.5, 1e-12) << "paired: the drift is in both";
  EXPECT_NEAR(container.ratio_ci95->high, 1.5, 1e-12);
  EXPECT_GT(container.ci95->high - container.ci95->low, 0.001) << "the median itself shows the drift";
  EXPECT_EQ(container.verdict, "slower");
}

TEST_F(ResultTest, WarmUpFailedAndInvalidTrialsAreNotInTheMedian) {
  fill_start();
  const Result result = analyse(suite, run, host);
  const Comparison& ready = find(result, "mark.ready", "gross");
  EXPECT_LT(*ready.backends.at("metal").max, 1) << "the warm-up of 99 s";
  int excluded = 0;
  int suspect = 0;
  for (const char* kind : {"gross", "tare"}) {
    for (const auto& entry : find(result, "mark.ready", kind).backends) {
      EXPECT_EQ(entry.second.n + entry.second.excluded, 12);
      excluded += entry.second.excluded;
      suspect += entry.second.suspect;
    }
  }
  EXPECT_EQ(excluded, 1);
  EXPECT_EQ(suspect, 1) << "disturbed trials count, and are counted";
  EXPECT_THAT(result.warnings, Contains(HasSubstr("failed and is not in its numbers: it was not ready in time")));
  EXPECT_THAT(result.warnings, Contains(HasSubstr("was disturbed and is in its numbers: steal")));
}

TEST_F(ResultTest, NetIsGrossLessTarePerBlock) {
  fill_start();
  const Result result = analyse(suite, run, host);
  const Comparison& net = find(result, "mark.ready", "net");
  EXPECT_NEAR(*net.backends.at("metal").min, 0.006 * 1.05, 1e-12);
  EXPECT_NEAR(*net.backends.at("container").min, 0.006 * 1.05, 1e-12);
  EXPECT_EQ(net.backends.at("container").verdict, "no difference") << "the workload itself is as fast";
  EXPECT_NEAR(*net.backends.at("vm").min, 0.04 * 1.05, 1e-12);
  EXPECT_THROW(find(result, "mark.executed", "net"), Error) << "a mark before ready is the backend's own";
  EXPECT_NEAR(*find(result, "usage.memory_peak", "net").backends.at("vm").median, 0, 1e-9);
}

TEST_F(ResultTest, AnEmulatedVmIsNeverRanked) {
  fill_start();
  const Result result = analyse(suite, run, host);
  for (const Comparison& comparison : result.experiments[0].comparisons) {
    const std::string& verdict = comparison.backends.at("vm").verdict;
    EXPECT_TRUE(verdict == "emulated" || verdict.rfind("missing", 0) == 0) << verdict;
  }
}

TEST_F(ResultTest, AMarkThatABackendLacksIsMissingWithItsReason) {
  fill_start();
  const Result result = analyse(suite, run, host);
  const Comparison& kernel = find(result, "mark.kernel", "gross");
  EXPECT_EQ(kernel.backends.at("metal").verdict, "missing: not a mark of metal");
  EXPECT_FALSE(kernel.backends.at("metal").median);
  EXPECT_EQ(kernel.backends.at("vm").verdict, "emulated");
}

TEST_F(ResultTest, AnUnableBackendIsMissingWithItsReason) {
  fill_start();
  std::erase_if(run.trials, [](const TrialRecord& trial) { return trial.planned.backend == "container"; });
  run.backends[1].probe.able = false;
  run.backends[1].probe.reason = "no root";
  EXPECT_EQ(find(analyse(suite, run, host), "mark.ready", "gross").backends.at("container").verdict, "missing: no root");
}

TEST_F(ResultTest, ARatioNearOneIsNoDifference) {
  add_experiment("micro", Experiment::Measure::probe);
  for (int block = 1; block <= 10; ++block) {
    add_trial("metal", block, {{"probe.syscall", 70 + block % 3}});
    add_trial("container", block, {{"probe.syscall", 70 + (block + 1) % 3}});
  }
  const Result result = analyse(suite, run, host);
  const Summary& container = find(result, "probe.syscall", "gross").backends.at("container");
  EXPECT_EQ(container.verdict, "no difference");
  EXPECT_LE(container.ratio_ci95->low, 1);
  EXPECT_GE(container.ratio_ci95->high, 1);
}

TEST_F(ResultTest, FiveSamplesAreTooFewForAnIntervalOrAVerdict) {
  add_experiment("micro", Experiment::Measure::probe);
  for (int block = 1; block <= 5; ++block) {
    add_trial("metal", block, {{"probe.syscall", 70}});
    add_trial("container", block, {{"probe.syscall", 700}});
  }
  const Result result = analyse(suite, run, host);
  const Summary& container = find(result, "probe.syscall", "gross").backends.at("container");
  EXPECT_FALSE(container.ci95);
  EXPECT_FALSE(container.ratio_ci95);
  EXPECT_NEAR(*container.ratio, 10, 1e-12);
  EXPECT_EQ(container.verdict, "n too small");
  EXPECT_THAT(table(suite, run, result, 120, false), HasSubstr("n too small"));
}

TEST_F(ResultTest, ZeroesHaveADifferenceAndNoRatio) {
  add_experiment("start");
  for (int block = 1; block <= 8; ++block) {
    add_trial("metal", block, {{"usage.io_write", 0}});
    add_trial("container", block, {{"usage.io_write", 4096.0}});
  }
  const Result result = analyse(suite, run, host);
  const Summary& container = find(result, "usage.io_write", "gross").backends.at("container");
  EXPECT_FALSE(container.ratio);
  EXPECT_EQ(container.difference, 4096.0);
  EXPECT_EQ(container.verdict, "more");
}

TEST_F(ResultTest, WithoutMetalThereIsNoBaseline) {
  add_experiment("start");
  for (int block = 1; block <= 8; ++block) add_trial("container", block, {{"mark.ready", 0.1}});
  EXPECT_EQ(find(analyse(suite, run, host), "mark.ready", "gross").backends.at("container").verdict, "no baseline");
}

TEST_F(ResultTest, FasterThanMetalAtFilesIsSuspected) {
  add_experiment("micro", Experiment::Measure::probe);
  run.backends[2].probe.emulated = false;
  for (int block = 1; block <= 8; ++block) {
    add_trial("metal", block, {{"probe.file_write_4k", 900 + block}, {"probe.syscall", 70}});
    add_trial("vm", block, {{"probe.file_write_4k", 400 + block}, {"probe.syscall", 60}});
  }
  const auto warnings = analyse(suite, run, host).warnings;
  EXPECT_THAT(warnings, Contains(HasSubstr("vm is faster than metal in probe.file_write_4k")));
  EXPECT_THAT(warnings, Not(Contains(HasSubstr("probe.syscall"))));
}

TEST_F(ResultTest, ARunWithoutASingleTrialStillHasAResult) {
  add_experiment("start");
  const Result result = analyse(suite, run, host);
  EXPECT_TRUE(result.experiments[0].comparisons.empty());
  EXPECT_THAT(table(suite, run, result, 80, false), HasSubstr("no result"));
}

TEST_F(ResultTest, TheSameRecordGivesTheSameBytes) {
  fill_start();
  const std::string once = result_json(suite, run, host, analyse(suite, run, host));
  EXPECT_EQ(once, result_json(suite, run, host, analyse(suite, run, host)));
  run.seed = 8;
  EXPECT_NE(once, result_json(suite, run, host, analyse(suite, run, host)));
}

TEST_F(ResultTest, JsonReportAndTableAreAsTheGoldenFilesHaveThem) {
  fill_start();
  const Result result = analyse(suite, run, host);
  expect_golden("result.json", result_json(suite, run, host, result));
  expect_golden("report.md", report_markdown(suite, run, host, result));
  expect_golden("table-200.txt", table(suite, run, result, 200, false));
  expect_golden("table-100.txt", table(suite, run, result, 100, false));
  expect_golden("table-60.txt", table(suite, run, result, 60, false));
}

TEST_F(ResultTest, AStoredResultGivesTheSameTable) {
  fill_start();
  const Result result = analyse(suite, run, host);
  EXPECT_EQ(table_from_json(result_json(suite, run, host, result), 120, true), table(suite, run, result, 120, true));
}

TEST_F(ResultTest, ColourIsOnlyThereWhenAsked) {
  fill_start();
  const Result result = analyse(suite, run, host);
  EXPECT_THAT(table(suite, run, result, 120, false), Not(HasSubstr("\033")));
  EXPECT_THAT(table(suite, run, result, 120, true), HasSubstr("\033["));
}

TEST_F(ResultTest, ATextThatIsNoResultIsRefused) {
  EXPECT_THROW(table_from_json("", 80, false), Error);
  EXPECT_THROW(table_from_json("{}", 80, false), Error);
  EXPECT_THROW(table_from_json("{\"schema\": \"tare.result/99\"}", 80, false), Error);
  EXPECT_NO_THROW(table_from_json("{\"schema\": \"tare.result/2\", \"backends\": 7, \"experiments\": [3]}", 80, false));
}

}  // namespace
}  // namespace tare::bench
