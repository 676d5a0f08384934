// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "bench/runner.h"

namespace tare::bench {
namespace {

const std::vector<std::string> kBackends = {"metal", "container", "vm"};

Suite suite_of(int trials, int warmup, bool with_empty) {
  Suite suite;
  Experiment experiment;
  experiment.name = "start";
  experiment.workload = "serve";
  if (with_empty) experiment.empty = "noop";
  experiment.trials = trials;
  experiment.warmup = warmup;
  suite.experiments = {experiment};
  suite.workloads["serve"].name = "serve";
  suite.workloads["noop"].name = "noop";
  return suite;
}

std::string text_of(const std::vector<PlannedTrial>& order) {
  std::string text;
  for (const PlannedTrial& trial : order) text += std::to_string(trial.block) + trial.backend.substr(0, 1) + (trial.empty ? "' " : " ");
  return text;
}

TEST(Plan, SameSeedGivesTheSameOrderOnEveryPlatform) {
  // Computed by an implementation of the Mersenne twister and the shuffle in another language.
  EXPECT_EQ(text_of(plan(suite_of(4, 1, false), kBackends, 7)), "0c 0v 0m 1c 1v 1m 2v 2m 2c 3c 3v 3m 4c 4v 4m ");
  EXPECT_EQ(text_of(plan(suite_of(2, 0, true), kBackends, 1)), "1m' 1c' 1m 1v 1v' 1c 2v 2m 2c 2m' 2v' 2c' ");
}

TEST(Plan, AnotherSeedGivesAnotherOrder) {
  EXPECT_NE(text_of(plan(suite_of(6, 0, false), kBackends, 1)), text_of(plan(suite_of(6, 0, false), kBackends, 2)));
}

TEST(Plan, EachBlockHoldsEachBackendAndItsCounterpartOnce) {
  const auto order = plan(suite_of(5, 2, true), kBackends, 3);
  ASSERT_EQ(order.size(), 7 * 6U);
  for (std::size_t block = 0; block < 7; ++block) {
    std::set<std::pair<std::string, bool>> seen;
    for (std::size_t i = 0; i < 6; ++i) {
      const PlannedTrial& trial = order[block * 6 + i];
      EXPECT_EQ(trial.block, block < 2 ? 0 : static_cast<int>(block) - 1) << "warm-up is block 0";
      EXPECT_EQ(trial.number, static_cast<int>(block * 6 + i) + 1);
      seen.emplace(trial.backend, trial.empty);
    }
    EXPECT_EQ(seen.size(), 6U);
  }
}

TEST(Plan, NoPlaceInABlockIsFavoured) {
  // 3000 blocks of 3: each backend in each place 1000 times, standard deviation 25.8.
  std::map<std::pair<std::string, std::size_t>, int> counts;
  const auto order = plan(suite_of(3000, 0, false), kBackends, 99);
  for (std::size_t i = 0; i < order.size(); ++i) ++counts[{order[i].backend, i % 3}];
  for (const auto& entry : counts) EXPECT_NEAR(entry.second, 1000, 110) << entry.first.first << " in place " << entry.first.second;
}

}  // namespace
}  // namespace tare::bench
