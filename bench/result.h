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
  int n = 0;         // valid measured samples, suspect ones included
  int excluded = 0;  // failed or invalid ones
  int suspect = 0;   // of the valid ones, those a noise detector marked
  std::optional<double> min, median, p95, max, mad;
  std::optional<Interval> ci95;        // BCa bootstrap of the median; absent with n < 6
  std::optional<double> ratio;         // to metal: exp of the median of paired log ratios per block
  std::optional<Interval> ratio_ci95;  // absent with fewer than 6 pairs
  std::optional<double> difference;    // to metal: median of the paired differences per block, in the metric's unit
  std::optional<Interval> difference_ci95;
  // "baseline" (metal), "slower" | "faster" (usage: "more" | "less"), "no difference", "n too small", "emulated", "no baseline",
  // "missing: <reason>"
  std::string verdict;
};

/// One metric of one experiment over all backends. An experiment with an empty counterpart has three of a kind for what the
/// counterpart can answer: gross (the workload), tare (the counterpart's own value) and net (per block and backend, the difference of
/// the two, so that drift cancels). Net exists for mark.ready and mark.responded, of which the counterpart's mark.ready is taken off
/// (the backend is up, has run an empty program and told so), and for usage.*, of which the same metric of the counterpart is.
/// A mark before `ready` has no net: it measures the backend alone, in both.
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
  std::string empty;    // the counterpart; "" when there is none
  std::string measure;  // "start" or "probe"
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
/// The same from a stored result.json: `tare show`. Throws Error(invalid) when it is none.
std::string table_from_json(const std::string& result_json, int width, bool colour);

}  // namespace tare::bench
