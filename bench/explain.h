// SPDX-License-Identifier: Apache-2.0
// Where the time of a start goes, and what would shorten it: read from a result.json alone. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace tare::bench {

/// One phase of a start, as its trials' median.
struct ExplainedPhase {
  std::string name;
  std::string part_of;            // of which phase it is a part; else empty
  std::string meaning;            // what happens in it
  std::optional<double> seconds;  // median
  std::optional<double> share;    // of the whole start, 0 … 1
  std::string missing;            // why there are no seconds
};

/// The starts of one backend in one experiment.
struct ExplainedStart {
  std::string experiment;
  std::string workload;
  std::string backend;  // of the lane
  std::string start;    // "cold", "restored", …
  bool emulated = false;
  int trials = 0;
  double seconds = 0;  // median from `requested` to `ready`
  std::vector<ExplainedPhase> phases;
  std::vector<std::string> advice;  // what tare has that would shorten it
};

/// Those of all experiments that measure a start; backends without a number are left out. Throws Error(invalid) when the text is no
/// result.json, Error(not_found) when no start was measured in it.
std::vector<ExplainedStart> explain(const std::string& result_json);
/// For a terminal of `width` columns.
std::string explanation_text(const std::vector<ExplainedStart>& starts, int width);
/// The same as JSON: {"starts": [...]}.
std::string explanation_json(const std::vector<ExplainedStart>& starts);

}  // namespace tare::bench
