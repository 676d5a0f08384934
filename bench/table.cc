// SPDX-License-Identifier: Apache-2.0
// The comparison table for a terminal, drawn from result.json alone, so that a stored run and a fresh one look the same.
#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <string_view>

#include "bench/format.h"
#include "bench/result.h"
#include "bench/result_fields.h"
#include "core/error.h"

namespace tare::bench {
namespace {

namespace json = boost::json;

constexpr std::string_view kBold = "\033[1m";
constexpr std::string_view kDim = "\033[2m";
constexpr std::string_view kRed = "\033[31m";
constexpr std::string_view kGreen = "\033[32m";
constexpr std::string_view kYellow = "\033[33m";
constexpr std::string_view kReset = "\033[0m";
constexpr std::size_t kGap = 2;  // spaces between columns
constexpr int kNarrowest = 40;

struct Cell {
  std::string text;
  std::string_view colour;  // empty: none
};
using Row = std::vector<Cell>;

int count(const json::value& value, std::string_view key) { return static_cast<int>(number(value, key).value_or(0)); }
std::optional<Interval> interval(const json::value& value, std::string_view key) {
  const json::array* pair = field(value, key).if_array();
  if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_number() || !(*pair)[1].is_number()) return std::nullopt;
  return Interval{(*pair)[0].to_number<double>(), (*pair)[1].to_number<double>()};
}

bool starts_with(std::string_view word, std::string_view start) { return word.substr(0, start.size()) == start; }

/// How much a cell says; the widest form that fits the terminal is drawn.
enum class Detail { side_by_side, stacked, bare };

class Table {
 public:
  Table(const json::value& result, int width, bool colour)
      : result_(result), width_(static_cast<std::size_t>(std::max(width, kNarrowest))), colour_(colour) {
    for (const json::value& backend : list(result, "backends")) {
      backends_.push_back(text(backend, "name"));
      emulated_.push_back(flag(field(backend, "probe"), "emulated"));
    }
  }

  std::string draw() {
    const json::value& suite = field(result_, "suite");
    const json::value& run = field(result_, "run");
    line(paint(text(suite, "name"), kBold) + paint("  run " + text(run, "id") + ", " + text(run, "started_at"), kDim));
    for (const json::value& experiment : list(result_, "experiments")) draw_experiment(experiment);
    draw_warnings();
    draw_cost();
    return out_;
  }

 private:
  std::string paint(const std::string& words, std::string_view colour) const {
    return colour_ && !colour.empty() && !words.empty() ? std::string(colour) + words + std::string(kReset) : words;
  }
  void line(const std::string& words) { out_ += words + "\n"; }

  // What a reader of a terminal wants to see; everything else is in report.md and result.json.
  static bool shown(const json::value& comparison, bool probe) {
    static constexpr std::array<std::string_view, 4> kUsage = {"usage.cpu", "usage.memory_peak", "usage.memory_pss", "usage.io_write"};
    const std::string metric = text(comparison, "metric");
    const std::string kind = text(comparison, "kind");
    if (kind != "gross") return metric == "mark.ready";
    if (probe) return starts_with(metric, "probe.") ? !ends_with(metric, ".cpu") : metric == "usage.cpu" || metric == "usage.memory_peak";
    if (metric == "stop.removed" || std::find(kUsage.begin(), kUsage.end(), metric) != kUsage.end()) return true;
    return starts_with(metric, "mark.") && metric != "mark.responded" && metric != "mark.stopping" && metric != "mark.exited" &&
           metric != "mark.removed";
  }
  static bool ends_with(std::string_view word, std::string_view end) {
    return word.size() >= end.size() && word.substr(word.size() - end.size()) == end;
  }

  static std::string label_of(const json::value& comparison) {
    std::string metric = text(comparison, "metric");
    for (const std::string_view prefix : {"mark.", "probe.", "usage.", "stop."}) {
      if (!starts_with(metric, prefix)) continue;
      metric.erase(0, prefix.size());
      if (prefix == "stop.") metric = metric == "removed" ? "stop to removed" : "stop to exited";
      break;
    }
    const std::string kind = text(comparison, "kind");
    return kind == "gross" ? metric : metric + ", " + kind;
  }

  Cell value_cell(const json::value& comparison, const json::value& summary, Detail detail) const {
    const auto median = number(summary, "median");
    if (!median) return {"–", kDim};
    const std::string unit = text(comparison, "unit");
    std::string words = value_text(*median, unit);
    const auto ci = interval(summary, "ci95");
    if (detail != Detail::bare)
      words += ci ? " " + interval_text(*median, ci->low, ci->high, unit) : count(summary, "n") < 6 ? " [n too small]" : "";
    return {words, {}};
  }

  Cell ratio_cell(const json::value& summary, Detail detail) const {
    const std::string verdict = text(summary, "verdict");
    if (!number(summary, "median") || verdict == "baseline") return {"", {}};
    std::string words;
    if (const auto ratio = number(summary, "ratio")) {
      words = ratio_text(*ratio);
      const auto ci = interval(summary, "ratio_ci95");
      if (ci && detail != Detail::bare) words += " " + ratio_interval_text(*ratio, ci->low, ci->high);
    }
    if (verdict != "emulated") words += (words.empty() ? "" : " ") + verdict;
    const bool worse = verdict == "slower" || verdict == "more";
    const bool better = verdict == "faster" || verdict == "less";
    return {words, worse ? kRed : better ? kGreen : kDim};
  }

  std::vector<Row> rows_of(const json::value& comparison, Detail detail) const {
    Row values{{label_of(comparison), {}}};
    Row ratios{{"", {}}};
    for (const std::string& backend : backends_) {
      const json::value& summary = field(field(comparison, "backends"), backend);
      values.push_back(value_cell(comparison, summary, detail));
      ratios.push_back(ratio_cell(summary, detail));
      if (detail == Detail::side_by_side) values.push_back(ratios.back());
    }
    const bool any = std::any_of(ratios.begin(), ratios.end(), [](const Cell& cell) { return !cell.text.empty(); });
    return detail == Detail::side_by_side || !any ? std::vector<Row>{values} : std::vector<Row>{values, ratios};
  }

  Row header(Detail detail) const {
    Row row{{"", {}}};
    for (std::size_t i = 0; i < backends_.size(); ++i) {
      row.push_back({backends_[i] + (emulated_[i] ? " (emulated)" : ""), emulated_[i] ? kYellow : kBold});
      if (detail == Detail::side_by_side) row.push_back({"", {}});
    }
    return row;
  }

  // n and what it leaves out, from the first metric that a backend has.
  Row trials_row(const std::vector<const json::value*>& comparisons, Detail detail) const {
    Row row{{"trials", {}}};
    for (const std::string& backend : backends_) {
      std::string words = "–";
      for (const json::value* comparison : comparisons) {
        if (text(*comparison, "kind") != "gross") continue;
        const json::value& summary = field(field(*comparison, "backends"), backend);
        words = std::to_string(count(summary, "n"));
        if (count(summary, "excluded") > 0) words += ", " + std::to_string(count(summary, "excluded")) + " excluded";
        if (count(summary, "suspect") > 0) words += ", " + std::to_string(count(summary, "suspect")) + " suspect";
        if (count(summary, "n") > 0) break;
      }
      row.push_back({words, kDim});
      if (detail == Detail::side_by_side) row.push_back({"", {}});
    }
    return row;
  }

  std::vector<Row> all_rows(const std::vector<const json::value*>& comparisons, Detail detail) const {
    std::vector<Row> rows{header(detail), trials_row(comparisons, detail)};
    for (const json::value* comparison : comparisons) {
      for (Row& row : rows_of(*comparison, detail)) rows.push_back(std::move(row));
    }
    return rows;
  }

  static std::vector<std::size_t> widths_of(const std::vector<Row>& rows) {
    std::vector<std::size_t> widths;
    for (const Row& row : rows) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i].text));
    }
    return widths;
  }

  void draw_experiment(const json::value& experiment) {
    const bool probe = text(experiment, "measure") == "probe";
    std::vector<const json::value*> comparisons;
    for (const json::value& comparison : list(experiment, "comparisons")) {
      if (shown(comparison, probe)) comparisons.push_back(&comparison);
    }
    const std::string name = text(experiment, "name");
    const std::string workload = text(experiment, "workload");
    const std::string empty = text(experiment, "empty");
    const std::string start = text(experiment, "start");
    line("");
    line(paint(name, kBold) + (name == workload ? "" : " of " + workload) + (start.empty() ? "" : ", start: " + start) +
         (empty.empty() ? "" : ", empty: " + empty));
    if (comparisons.empty()) {
      line("  no result");
    } else {
      draw_rows(comparisons);
    }
    draw_missing(experiment);
  }

  void draw_rows(const std::vector<const json::value*>& comparisons) {
    std::vector<Row> rows;
    std::vector<std::size_t> widths;
    for (const Detail detail : {Detail::side_by_side, Detail::stacked, Detail::bare}) {
      rows = all_rows(comparisons, detail);
      widths = widths_of(rows);
      std::size_t total = 0;
      for (const std::size_t width : widths) total += width + (width > 0 ? kGap : 0);
      if (total <= width_) break;
    }
    for (const Row& row : rows) {
      std::string words;
      std::size_t pending = 0;  // spaces are drawn before the next cell only: no line ends in spaces
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (widths[i] == 0) continue;
        pending += i == 0 ? 2 : kGap;
        if (!row[i].text.empty()) {
          words += std::string(pending, ' ') + paint(row[i].text, row[i].colour);
          pending = 0;
        }
        pending += widths[i] - columns(row[i].text);
      }
      line(words);
    }
  }

  // Why a backend has no number at all in this experiment.
  void draw_missing(const json::value& experiment) {
    for (const std::string& backend : backends_) {
      std::string reason;
      bool any = false;
      for (const json::value& comparison : list(experiment, "comparisons")) {
        const json::value& summary = field(field(comparison, "backends"), backend);
        if (number(summary, "median")) any = true;
        if (reason.empty() && starts_with(text(summary, "verdict"), "missing: ")) reason = text(summary, "verdict").substr(9);
      }
      if (!any && !reason.empty()) note(backend + ": no result: " + reason);
    }
  }

  void note(const std::string& sentence) {
    std::string indent = "  ";
    for (const std::string& part : wrapped(sentence, width_ - 4)) {
      line(paint(indent + part, kYellow));
      indent = "    ";
    }
  }

  void draw_warnings() {
    const json::array& warnings = list(result_, "warnings");
    if (warnings.empty()) return;
    line("");
    line(paint("warnings", kBold));
    for (const json::value& warning : warnings) {
      if (warning.is_string()) note(std::string(warning.as_string()));
    }
  }

  void draw_cost() {
    const json::value& cost = field(result_, "agent_cost");
    const auto cpu = number(cost, "cpu_seconds");
    const auto wall = number(cost, "wall_seconds");
    if (!cpu || !wall) return;
    line("");
    line("tare itself used " + value_text(*cpu, "s") + " of CPU in " + value_text(*wall, "s") + " and " +
         value_text(number(cost, "memory_bytes").value_or(0), "bytes") + " of memory");
    line(paint("[ ] 95 % interval (BCa bootstrap) of the median; × ratio to metal, paired by block", kDim));
  }

  const json::value& result_;
  std::size_t width_;
  bool colour_;
  std::vector<std::string> backends_;
  std::vector<bool> emulated_;
  std::string out_;
};

}  // namespace

std::string table_from_json(const std::string& result_json, int width, bool colour) {
  const json::value result = parse_result(result_json);
  return Table(result, width, colour).draw();
}

std::string table(const Suite& suite, const RunRecord& run, const Result& result, int width, bool colour) {
  return table_from_json(result_json(suite, run, HostContext(), result), width, colour);
}

}  // namespace tare::bench
