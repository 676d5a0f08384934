// SPDX-License-Identifier: Apache-2.0
// Where a suite is that was given by its name.
#include "agent/cli/verbs.h"
#include "agent/suggest.h"
#include "core/error.h"

namespace tare::agent::cli {
namespace fs = std::filesystem;

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
