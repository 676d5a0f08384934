// SPDX-License-Identifier: Apache-2.0
// The command line, typed. The only user of CLI11.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tare::agent::cli {

struct Options {
  std::string verb;
  std::string suite;                                // bench, check: a file, or the name of one in configs/suites
  std::string run;                                  // show, cancel: a run id, or "last"
  std::optional<std::uint64_t> seed;                // bench
  std::filesystem::path results = "results";        // bench
  std::vector<std::string> backends;                // bench
  std::optional<std::filesystem::path> config;      // agent and verbs that start one
  std::optional<std::filesystem::path> private_to;  // agent: run directory of the private agent of a verb, which holds our stdin
  bool json = false;
  bool csv = false;
  bool quiet = false;
};

/// Nothing when help was asked for and has been printed. Throws Error(usage) with "did you mean".
std::optional<Options> parse(int argc, const char* const* argv);

}  // namespace tare::agent::cli
