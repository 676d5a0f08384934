// SPDX-License-Identifier: Apache-2.0
// Needs no agent: a suite is right or wrong by itself.
#include <unistd.h>

#include "agent/cli/verbs.h"
#include "agent/suggest.h"
#include "bench/runner.h"
#include "bench/suite.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent::cli {
namespace fs = std::filesystem;

int check(const Options& options, const MakeBackends&) {
  const fs::path file = suite_file(options.suite);
  const bench::Suite suite = bench::load_suite(read_file(file), file.string());
  const std::size_t trials = bench::plan(suite, suite.backends, suite.seed.value_or(0)).size();
  print(file.string() + " is valid: suite '" + suite.name + "', " + std::to_string(suite.experiments.size()) + " experiments on " +
        std::to_string(suite.backends.size()) + " backends, " + std::to_string(trials) + " trials\n");
  return 0;
}

fs::path suite_file(const std::string& suite) {
  std::error_code ignored;
  if (fs::is_regular_file(suite, ignored)) return suite;
  // Beside the working directory, beside the source tree that we were built in (build/<preset>/bin), and where we are installed.
  const fs::path bin = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  const fs::path places[] = {"configs/suites", bin / "../../../configs/suites", bin / "../share/tare/suites"};
  std::vector<std::string> known;
  for (const fs::path& place : places) {
    if (suite.find('/') == std::string::npos && fs::is_regular_file(place / (suite + ".yaml"), ignored)) {
      return (place / (suite + ".yaml")).lexically_normal();
    }
    for (const auto& entry : fs::directory_iterator(place, ignored)) known.push_back(entry.path().stem().string());
  }
  throw Error(Code::not_found, "there is no suite '" + suite + "'" + did_you_mean(suite, known),
              "give a YAML file, or the name of one in configs/suites");
}

}  // namespace tare::agent::cli
