// SPDX-License-Identifier: Apache-2.0
// report.md: everything of a result that a person may ask for, in one page of Markdown.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "bench/format.h"
#include "bench/result.h"
#include "bench/statistics.h"

namespace tare::bench {
namespace {

constexpr std::string_view kHowToRead = R"(
## How to read this

Each cell is the median over the measured trials with its 95 % interval (BCa bootstrap, 10 000 resamples), the ratio to metal with its interval
(trials of one block are paired, so drift cancels), and a verdict. "no difference" means that the interval of the ratio holds 1, not that there is
none. Fewer than 6 trials have no interval. *gross* is what was measured, *tare* what the empty counterpart weighs, *net* the difference of the two
within each block. Marks are seconds since the request; a mark that a backend does not have is missing, not 0.
)";

// A cell must not end its row, nor open markup of its own.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n' || c == '\r') {
      out += ' ';
    } else {
      if (c == '|' || c == '`' || c == '<' || c == '*') out += '\\';
      out += c;
    }
  }
  return out;
}

std::string summary_cell(const Summary& summary, const std::string& unit) {
  if (!summary.median) return cell(summary.verdict);
  std::string out = value_text(*summary.median, unit);
  if (summary.ci95) out += fmt::format(" {}", interval_text(*summary.median, summary.ci95->low, summary.ci95->high, unit));
  if (summary.ratio) out += fmt::format(", {}", ratio_text(*summary.ratio));
  if (summary.ratio_ci95) {
    out += fmt::format(" {}", ratio_interval_text(*summary.ratio, summary.ratio_ci95->low, summary.ratio_ci95->high));
  }
  if (summary.verdict != "baseline") out += ", " + summary.verdict;
  out += fmt::format(" (n {}", summary.n);
  if (summary.excluded > 0) out += fmt::format(", {} excluded", summary.excluded);
  if (summary.suspect > 0) out += fmt::format(", {} suspect", summary.suspect);
  return out + ")";
}

std::string column_name(const RunRecord& run, const std::string& backend) {
  const auto info = std::find_if(run.backends.begin(), run.backends.end(), [&](const BackendInfo& b) { return b.name == backend; });
  return backend + (info != run.backends.end() && info->probe.emulated ? " (emulated)" : "");
}

std::string experiment_section(const Suite& suite, const RunRecord& run, const ExperimentResult& experiment) {
  std::string out = fmt::format("\n## {}\n\nWorkload `{}`", experiment.name, experiment.workload);
  if (!experiment.empty.empty()) out += fmt::format(", empty counterpart `{}`", experiment.empty);
  out += fmt::format(", measure `{}`.\n\n| metric | kind |", experiment.measure);
  std::string rule = "\n|---|---|";
  for (const std::string& backend : suite.backends) {
    out += fmt::format(" {} |", column_name(run, backend));
    rule += "---|";
  }
  out += rule + "\n";
  for (const Comparison& comparison : experiment.comparisons) {
    out += fmt::format("| {} | {} |", cell(comparison.metric), comparison.kind);
    for (const std::string& backend : suite.backends)
      out += fmt::format(" {} |", summary_cell(comparison.backends.at(backend), comparison.unit));
    out += "\n";
  }
  return out;
}

// How well the marks that a guest told are placed on the host's clock; empty for a backend whose marks are all the host's own.
std::string clock_line(const RunRecord& run, const std::string& backend) {
  std::vector<double> bounds;
  for (const TrialRecord& trial : run.trials) {
    if (trial.planned.backend != backend || trial.planned.block == 0) continue;
    for (const Sample& sample : trial.samples) {
      if (sample.metric == "clock.error_bound" && sample.value) bounds.push_back(*sample.value);
    }
  }
  if (bounds.empty()) return {};
  return fmt::format("  - clock: marks told by the guest are known to ±{} (median of {} trials; at worst ±{})\n",
                     value_text(statistics::median(bounds), "s"), bounds.size(),
                     value_text(*std::max_element(bounds.begin(), bounds.end()), "s"));
}

std::string backend_section(const RunRecord& run) {
  std::string out = "\n## Backends\n\n";
  for (const BackendInfo& info : run.backends) {
    const Probe& probe = info.probe;
    out += fmt::format("- **{}**: {}{}", info.name,
                       probe.able ? "" : "not measured: ", cell(probe.able ? probe.implementation : probe.reason));
    if (!probe.accelerator.empty()) out += fmt::format(", accelerator {}", cell(probe.accelerator));
    if (probe.emulated) out += ", **emulated**: never ranked against the others";
    out += "\n";
    out += clock_line(run, info.name);
    for (const auto& [key, value] : probe.details) out += fmt::format("  - {}: {}\n", cell(key), cell(value));
    for (const auto& [key, value] : info.protections) out += fmt::format("  - protection {}: {}\n", cell(key), cell(value));
    for (const auto& [metric, why] : info.missing) out += fmt::format("  - no {}: {}\n", cell(metric), cell(why));
  }
  return out;
}

std::string failure_section(const RunRecord& run) {
  std::string out;
  for (const TrialRecord& trial : run.trials) {
    if (trial.state == "ok") continue;
    if (out.empty()) {
      out =
          "\n## Trials that are not plainly ok\n\n| trial | block | backend | experiment | state | why |\n"
          "|---|---|---|---|---|---|\n";
    }
    const std::string hint = trial.hint.empty() ? "" : fmt::format(" ({})", cell(trial.hint));
    out += fmt::format("| {} | {} | {} | {} | {} | {}{} |\n", trial.planned.number, trial.planned.block, trial.planned.backend,
                       cell(trial.experiment), cell(trial.state), cell(trial.sentence), hint);
  }
  return out;
}

std::string host_section(const HostContext& host) {
  std::string out = "\n## Host\n\n| fact | value |\n|---|---|\n";
  for (const auto& [key, value] : host.facts) out += fmt::format("| {} | {} |\n", cell(key), cell(value));
  return out;
}

std::string_view outcome_word(Outcome outcome) {
  return outcome == Outcome::ok ? "ok" : outcome == Outcome::failed ? "failed in part" : "canceled before its end";
}

}  // namespace

std::string report_markdown(const Suite& suite, const RunRecord& run, const HostContext& host, const Result& result) {
  std::string out = fmt::format("# {}\n\n", suite.name);
  if (!suite.description.empty()) out += cell(suite.description) + "\n\n";
  out += fmt::format("Run `{}`, started {}, took {}, {}. Seed {} repeats the order. Suite {}.\n", run.id, run.started_at,
                     value_text(run.wall_seconds, "s"), outcome_word(run.outcome), run.seed, suite.digest);
  if (!result.warnings.empty()) out += "\n## Warnings\n\n";
  for (const std::string& warning : result.warnings) out += fmt::format("- {}\n", cell(warning));
  for (const ExperimentResult& experiment : result.experiments) out += experiment_section(suite, run, experiment);
  out += failure_section(run);
  out += backend_section(run);
  out += fmt::format("\n## What tare itself cost\n\n{} of CPU in {}; {} resident at the end (agent and launcher).\n",
                     value_text(run.agent_cost.cpu_seconds, "s"), value_text(run.agent_cost.wall_seconds, "s"),
                     value_text(run.agent_cost.memory_bytes, "bytes"));
  out += host_section(host);
  return out + std::string(kHowToRead);
}

}  // namespace tare::bench
