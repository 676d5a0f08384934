// SPDX-License-Identifier: Apache-2.0
// From samples to what a reader sees: comparisons with intervals and verdicts, as JSON, Markdown and a table for the terminal.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/host.h"
#include "bench/runner.h"
#include "bench/suite.h"

namespace tare::bench {

struct Interval {
  double low = 0;
  double high = 0;
};

/// One backend's column of a comparison.
struct Summary {
  int n = 0;         // valid measured samples
  int excluded = 0;  // failed or invalid ones
  std::optional<double> min, median, p95, max, mad;
  std::optional<Interval> ci95;        // BCa bootstrap of the median; absent with n < 6
  std::optional<double> ratio;         // to metal: exp of the median of paired log ratios per block
  std::optional<Interval> ratio_ci95;  // absent with fewer than 6 pairs
  std::string verdict;                 // "slower", "faster", "no difference", "n too small", "emulated", "missing: <reason>", …
};

/// One metric of one experiment over all backends.
struct Comparison {
  std::string metric;
  std::string unit;
  std::string kind = "gross";  // gross | tare | net
  bool lower_is_better = true;
  std::map<std::string, Summary> backends;
};

struct ExperimentResult {
  std::string name;
  std::string workload;
  std::vector<Comparison> comparisons;
};

struct Result {
  std::vector<ExperimentResult> experiments;
  std::vector<std::string> warnings;  // of the run and of the host
};

/// Pure: the same record gives the same result (the bootstrap uses the run's seed).
Result analyse(const Suite& suite, const RunRecord& run, const HostContext& host);

/// result.json (a contract: DESIGN.md, "Contracts"), pretty-printed, ends with a newline.
std::string result_json(const Suite& suite, const RunRecord& run, const HostContext& host, const Result& result);
/// report.md.
std::string report_markdown(const Suite& suite, const RunRecord& run, const HostContext& host, const Result& result);
/// The comparison table for a terminal of `width` columns; ANSI colour when `colour`.
std::string table(const Suite& suite, const RunRecord& run, const Result& result, int width, bool colour);

}  // namespace tare::bench
