// SPDX-License-Identifier: Apache-2.0
// Needs no agent: a suite is right or wrong by itself.
#include "agent/cli/verbs.h"
#include "bench/runner.h"
#include "bench/suite.h"
#include "core/files.h"

namespace tare::agent::cli {

int check(const Options& options, const MakeBackends&) {
  const std::filesystem::path file = suite_file(options.suite);
  const bench::Suite suite = bench::load_suite(read_file(file), file.string());
  const std::size_t trials = bench::plan(suite, suite.backends, suite.seed.value_or(0)).size();
  print(file.string() + " is valid: suite '" + suite.name + "', " + std::to_string(suite.experiments.size()) + " experiments on " +
        std::to_string(suite.backends.size()) + " backends, " + std::to_string(trials) + " trials\n");
  return 0;
}

}  // namespace tare::agent::cli
