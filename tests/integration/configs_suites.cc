// SPDX-License-Identifier: Apache-2.0
// Every suite in configs/suites loads, and keeps what its comments promise.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "bench/suite.h"
#include "core/files.h"

namespace tare::bench {
namespace {

const std::filesystem::path kSuites = std::filesystem::path(TARE_SOURCE_DIR) / "configs" / "suites";

std::vector<std::string> suite_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kSuites)) names.push_back(entry.path().stem().string());
  return names;
}

Suite load(const std::string& name) {
  const std::filesystem::path path = kSuites / (name + ".yaml");
  return load_suite(read_file(path), path.filename().string());
}

class ShippedSuite : public testing::TestWithParam<std::string> {};

TEST_P(ShippedSuite, LoadsUnderItsOwnName) { EXPECT_EQ(load(GetParam()).name, GetParam()); }

TEST_P(ShippedSuite, RunsOnAllBackendsWithTheSameLimitsForEveryWorkload) {
  const Suite suite = load(GetParam());
  EXPECT_THAT(suite.backends, testing::ElementsAre("metal", "container", "vm"));
  for (const auto& [name, workload] : suite.workloads) {
    EXPECT_EQ(workload.limits, suite.workloads.begin()->second.limits) << name;
    EXPECT_TRUE(workload.limits.memory && workload.limits.cpus && workload.limits.pids) << name << " has no limits: no fair comparison";
  }
}

TEST_P(ShippedSuite, GivesAnEmptyCounterpartTheNetworkOfItsWorkload) {
  const Suite suite = load(GetParam());
  for (const Experiment& experiment : suite.experiments) {
    if (!experiment.empty) continue;
    EXPECT_EQ(suite.workloads.at(*experiment.empty).network, suite.workloads.at(experiment.workload).network) << experiment.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Configs, ShippedSuite, testing::ValuesIn(suite_names()), [](const auto& suite) { return suite.param; });

TEST(Quickstart, HasEnoughTrialsForIntervalsAndTheTareOfAStart) {
  const Suite suite = load("quickstart");
  ASSERT_EQ(suite.experiments.size(), 2U);
  EXPECT_GE(suite.experiments[0].trials, 10);
  EXPECT_TRUE(suite.experiments[0].empty);
  EXPECT_GE(suite.experiments[1].trials, 6);
}

}  // namespace
}  // namespace tare::bench
