// SPDX-License-Identifier: Apache-2.0
// The order of execution: randomised complete blocks.
#include <random>
#include <utility>

#include "bench/runner.h"

namespace tare::bench {
namespace {

// A number below `n` from std::mt19937_64, whose output the standard fixes; std::shuffle and the distributions are each library's own.
// Draws from the incomplete last stretch of the range are drawn again, so that no number is favoured.
std::uint64_t below(std::mt19937_64& engine, std::uint64_t n) {
  const std::uint64_t limit = std::mt19937_64::max() - std::mt19937_64::max() % n;
  for (;;) {
    const std::uint64_t draw = engine();
    if (draw < limit) return draw % n;
  }
}

// Fisher & Yates, from the back.
template <class T>
void shuffle(std::vector<T>& items, std::mt19937_64& engine) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(engine, i)]);
}

}  // namespace

std::vector<PlannedTrial> plan(const Suite& suite, const std::vector<std::string>& backends, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<PlannedTrial> order;
  for (std::size_t e = 0; e < suite.experiments.size(); ++e) {
    const Experiment& experiment = suite.experiments[e];
    for (int round = 0; round < experiment.warmup + experiment.trials; ++round) {
      std::vector<PlannedTrial> block;
      for (const std::string& backend : backends) {
        PlannedTrial trial;
        trial.block = round < experiment.warmup ? 0 : round - experiment.warmup + 1;
        trial.experiment = e;
        trial.backend = backend;
        block.push_back(trial);
        if (!experiment.empty) continue;
        trial.empty = true;
        block.push_back(trial);
      }
      shuffle(block, engine);
      order.insert(order.end(), block.begin(), block.end());
    }
  }
  for (std::size_t i = 0; i < order.size(); ++i) order[i].number = static_cast<int>(i) + 1;
  return order;
}

}  // namespace tare::bench
