// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "agent/metrics_catalogue.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

bench::TrialRecord trial(const std::string& backend, int block, const std::map<std::string, double>& values,
                         const std::string& state = "ok") {
  bench::TrialRecord out;
  out.planned.backend = backend;
  out.planned.block = block;
  out.workload = "w";
  out.state = state;
  for (const auto& [metric, value] : values) {
    bench::Sample sample;
    sample.metric = metric;
    sample.value = value;
    out.samples.push_back(sample);
  }
  return out;
}

TEST(MetricsCatalogue, EveryFamilyIsAsInTheFile) {
  const std::string text = read_file(std::filesystem::path(TARE_SOURCE_DIR) / "dashboards" / "metrics.tsv");
  std::map<std::string, std::vector<std::string>> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields(1);
    for (const char c : line) {
      if (c == '\t') {
        fields.emplace_back();
      } else {
        fields.back() += c;
      }
    }
    rows[fields[0]] = fields;
  }
  for (const Family& family : metric_families()) {
    const std::string name(family.name);
    ASSERT_EQ(rows.count(name), 1U) << name;
    const char* kinds[] = {"gauge", "counter", "histogram"};
    EXPECT_EQ(rows[name].at(1), kinds[static_cast<int>(family.kind)]) << name;
    EXPECT_EQ(rows[name].at(3), family.labels) << name;
    EXPECT_FALSE(family.help.empty()) << name;
  }
}

TEST(MetricsCatalogue, RefusesAnUnknownNameAndWrongLabels) {
  MetricTable table;
  EXPECT_THROW(table.set("tare_unheard_of", {}, 1), Error);
  EXPECT_THROW(table.set("tare_backend_up", {"metal", "more"}, 1), Error);
}

TEST(Metrics, CountersGoOnOverTrialsAndGaugesShowTheLast) {
  Metrics metrics;
  metrics.trial_finished(trial("metal", 1, {{"usage.cpu_user", 0.5}, {"usage.memory_peak", 100}}));
  metrics.trial_finished(trial("metal", 2, {{"usage.cpu_user", 0.25}, {"usage.memory_peak", 80}}));
  EXPECT_THAT(metrics.text(), AllOf(HasSubstr("tare_cpu_usage_seconds_total{backend=\"metal\",workload=\"w\",mode=\"user\"} 0.75"),
                                    HasSubstr("tare_memory_peak_bytes{backend=\"metal\",workload=\"w\"} 80")));
}

TEST(Metrics, WhatHasNoDataIsAbsent) {
  EXPECT_THAT(Metrics().text(), AllOf(Not(HasSubstr("tare_result_")), Not(HasSubstr("tare_overhead_")), Not(HasSubstr("tare_memory_pss"))));
}

TEST(Metrics, ABackendIsNamedWithWhatItIsBuiltWith) {
  const auto info = [](const std::string& name, const std::string& implementation, const std::string& accelerator, bool emulated) {
    bench::BackendInfo out{name, {}, {}};
    out.probe.able = true;
    out.probe.implementation = implementation;
    out.probe.accelerator = accelerator;
    out.probe.emulated = emulated;
    return out;
  };
  Metrics metrics;
  const std::string text = metrics.text();
  const std::size_t at = text.find("version=\"", text.find("tare_build_info{"));
  const std::string own_version = text.substr(at, text.find('"', at + 9) + 1 - at);
  metrics.set_backends(
      {info("container", "namespaces and control group", "", false), info("vm", "qemu 7.2.22 via libvirt 9.0.0", "tcg", true)});
  EXPECT_THAT(metrics.text(),
              AllOf(HasSubstr("{backend=\"vm\",implementation=\"qemu-tcg via libvirt, emulated\",version=\"9.0.0\"} 1"),
                    HasSubstr("{backend=\"container\",implementation=\"namespaces and control group\"," + own_version + "} 1")));
  metrics.set_backends({info("vm", "qemu 7.2.22 via libvirt 9.0.0", "kvm", false)});
  EXPECT_THAT(metrics.text(),
              AllOf(HasSubstr("implementation=\"qemu-kvm via libvirt\""), Not(HasSubstr("emulated")), HasSubstr("namespaces")));
  bench::BackendInfo unable{"vm", {}, {}};
  metrics.set_backends({unable});
  EXPECT_THAT(metrics.text(), AllOf(Not(HasSubstr("implementation=\"qemu")), HasSubstr("tare_backend_up{backend=\"vm\"} 0")));
}

TEST(Metrics, AWarmUpOrAFailedTrialIsNoStart) {
  Metrics metrics;
  metrics.trial_finished(trial("vm", 0, {{"mark.ready", 1}}));
  metrics.trial_finished(trial("vm", 1, {}, "failed:timeout"));
  EXPECT_THAT(metrics.text(), AllOf(Not(HasSubstr("tare_start_duration_seconds")),
                                    HasSubstr("tare_trials_total{backend=\"vm\",workload=\"w\",outcome=\"timeout\"} 1")));
}

TEST(StartPhases, AddUpToTheStart) {
  const auto phases = start_phases(
      trial("vm", 1, {{"mark.launched", 0.1}, {"mark.kernel", 0.3}, {"mark.init", 0.8}, {"mark.executed", 1.0}, {"mark.ready", 1.25}}));
  double sum = 0;
  for (const auto& [phase, seconds] : phases) sum += seconds;
  EXPECT_DOUBLE_EQ(sum, 1.25);
  EXPECT_EQ(phases.count("userspace"), 1U);
  EXPECT_EQ(phases.count("exec"), 0U);
}

TEST(StartPhases, OfANativeWorkloadHaveNoGuest) {
  const auto phases = start_phases(trial("metal", 1, {{"mark.launched", 0.5}, {"mark.executed", 0.75}, {"mark.ready", 1}}));
  EXPECT_THAT(phases, ElementsAre(Pair("create", 0.5), Pair("exec", 0.25), Pair("ready", 0.25)));
}

TEST(StartPhases, AreNotGuessedWhenMarksAreOutOfOrder) {
  EXPECT_TRUE(start_phases(trial("vm", 1, {{"mark.launched", 0.5}, {"mark.executed", 0.25}})).empty());
}

TEST(ResultMetrics, AboveOneIsAlwaysWorse) {
  bench::Comparison throughput;
  throughput.metric = "probe.triad";
  throughput.lower_is_better = false;
  bench::Summary half;
  half.n = 10;
  half.median = 5;
  half.ratio = 0.5;
  half.ratio_ci95 = bench::Interval{0.4, 0.8};
  throughput.backends["vm"] = half;
  bench::Result result;
  result.experiments.push_back({});
  result.experiments.back().workload = "w";
  result.experiments.back().comparisons.push_back(throughput);
  MetricTable table;
  put_result(table, {}, result, 1);
  const MetricTable::Labels labels = {"vm", "w", "probe.triad"};
  EXPECT_DOUBLE_EQ(table.families().at("tare_overhead_ratio").at(labels), 2);
  EXPECT_DOUBLE_EQ(table.families().at("tare_overhead_ci_lower_ratio").at(labels), 1.25);
  EXPECT_DOUBLE_EQ(table.families().at("tare_overhead_ci_upper_ratio").at(labels), 2.5);
}

TEST(ResultMetrics, AStartHasEveryStatisticItsHelpPromises) {
  bench::Suite suite;
  suite.backends = {"metal"};
  suite.experiments.resize(1);
  suite.experiments[0].name = "e";
  suite.experiments[0].workload = "w";
  bench::RunRecord run;
  run.backends = {{"metal", {}, {}}};
  for (int block = 0; block <= 4; ++block) {
    run.trials.push_back(trial("metal", block, {{"mark.ready", block == 0 ? 99.0 : block}}));  // block 0 is warm-up
    run.trials.back().experiment = "e";
  }
  MetricTable table;
  put_result(table, run, bench::analyse(suite, run, {}), 1);
  std::map<std::string, double> found;
  for (const auto& [labels, value] : table.families().at("tare_result_start_seconds")) found[labels.back()] = value;
  EXPECT_THAT(found, ElementsAre(Pair("max", 4), Pair("mean", 2.5), Pair("min", 1), Pair("p50", 2.5),
                                 Pair("p95", testing::DoubleNear(3.85, 1e-9)), Pair("p99", testing::DoubleNear(3.97, 1e-9))));
  const auto& phases = table.families().at("tare_result_phase_seconds");  // of one phase here, so its quantiles are those of the start
  EXPECT_DOUBLE_EQ(phases.at({"metal", "w", "ready", "p50"}), found["p50"]);
  EXPECT_DOUBLE_EQ(phases.at({"metal", "w", "ready", "p95"}), found["p95"]);
}

}  // namespace
}  // namespace tare::agent
