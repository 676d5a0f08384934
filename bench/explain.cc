// SPDX-License-Identifier: Apache-2.0
#include "bench/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <string_view>

#include "bench/format.h"
#include "bench/json_text.h"
#include "bench/result_fields.h"
#include "core/error.h"
#include "core/phases.h"

namespace tare::bench {
namespace {

namespace json = boost::json;

constexpr int kBar = 20;        // columns of a phase that is all of the start
constexpr double kMuch = 0.25;  // of a start: worth an advice
constexpr double kSlightest = 0.005;

// The gross summary of a metric for a backend; null when the experiment has none.
const json::value& summary_of(const json::value& experiment, const std::string& metric, const std::string& backend) {
  static const json::value kNothing;
  for (const json::value& comparison : list(experiment, "comparisons")) {
    if (text(comparison, "metric") == metric && text(comparison, "kind") == "gross") return field(field(comparison, "backends"), backend);
  }
  return kNothing;
}

double share_of(const ExplainedStart& start, std::initializer_list<std::string_view> names) {
  double sum = 0;
  for (const ExplainedPhase& phase : start.phases) {
    if (std::find(names.begin(), names.end(), phase.name) != names.end()) sum += phase.share.value_or(0);
  }
  return sum;
}

std::string percent(double share) { return fmt::format("{:.1f} %", share * 100); }

// Only what tare has, and only where the numbers speak for it.
void advise_boot(ExplainedStart& start, const json::value& probe) {
  const double guest = share_of(start, {"firmware", "kernel", "initramfs", "root"});
  if (guest >= kMuch) {
    start.advice.push_back(
        "the guest's boot is " + percent(guest) +
        " of it: `start: restored` clones a guest that was frozen when it was ready, `start: parked` has the clone wait");
  }
  const double machine = share_of(start, {"libvirt", "qemu"});
  if (machine >= kMuch) {
    start.advice.push_back("libvirt and QEMU are " + percent(machine) + " of it: `start: parked` has both there before the request");
  }
  if (start.emulated) {
    const std::string remedy = text(probe, "remedy");
    start.advice.push_back("every instruction of the guest is emulated: hardware virtualisation shortens all from firmware to ready" +
                           (remedy.empty() ? std::string() : " (" + remedy + ")"));
  }
}

void advise_process(ExplainedStart& start) {
  const double made = share_of(start, {"prepare", "launch"});
  const double all = made + share_of(start, {"execute"});
  if (start.start == "cold" && made >= kMuch) {
    start.advice.push_back("root filesystem, control group, network and process are " + percent(made) +
                           " of it: `start: pooled` has all but the process there before the request");
  }
  if (start.start != "zygote" && all >= kMuch) {
    start.advice.push_back("all before the execve is " + percent(all) +
                           " of it: `start: zygote` has a process of this workload wait right before it");
  }
}

void advise(ExplainedStart& start, const json::value& probe, Course course) {
  if (course == Course::boot) advise_boot(start, probe);
  if (course == Course::process) advise_process(start);
  if (course == Course::clone && start.start == "restored" && share_of(start, {"prepare"}) >= kMuch) {
    start.advice.push_back("what is made before the guest goes on is " + percent(share_of(start, {"prepare"})) +
                           " of it: `start: parked` has it there before the request");
  }
  const double own = share_of(start, {"ready"});
  if (own >= kMuch) {
    start.advice.push_back("the workload's own start and its probe are " + percent(own) + " of it" +
                           (course == Course::boot ? ": a clone is past it" : ", which no way of starting it here changes"));
  }
}

Course course_of(const json::value& experiment, const std::string& backend) {
  if (number(summary_of(experiment, "phase.kernel", backend), "median")) return Course::boot;
  if (number(summary_of(experiment, "phase.identity", backend), "median")) return Course::clone;
  return Course::process;
}

ExplainedPhase phase_of(const json::value& experiment, const json::value& backend, const PhaseText& known, double whole) {
  const std::string metric = "phase." + std::string(known.name);
  const json::value& summary = summary_of(experiment, metric, text(backend, "name"));
  ExplainedPhase phase{std::string(known.name), std::string(known.part_of), std::string(known.meaning), number(summary, "median"), {}, {}};
  if (phase.seconds && whole > 0) phase.share = *phase.seconds / whole;
  if (!phase.seconds) phase.missing = text(field(backend, "missing"), metric);
  if (!phase.seconds && phase.missing.empty()) phase.missing = "this run did not measure it";
  return phase;
}

std::optional<ExplainedStart> start_of(const json::value& experiment, const json::value& backend) {
  const std::string name = text(backend, "name");
  const json::value& ready = summary_of(experiment, "mark.ready", name);
  const auto median = number(ready, "median");
  if (!median) return std::nullopt;
  const json::value& probe = field(backend, "probe");
  ExplainedStart start;
  start.experiment = text(experiment, "name");
  start.workload = text(experiment, "workload");
  start.backend = name;
  const std::string of_experiment = text(experiment, "start");
  const std::size_t colon = name.find(':');
  start.start = colon != std::string::npos ? name.substr(colon + 1) : of_experiment.empty() ? "cold" : of_experiment;
  start.emulated = flag(probe, "emulated");
  start.trials = static_cast<int>(number(ready, "n").value_or(0));
  start.seconds = *median;
  const Course course = course_of(experiment, name);
  for (const PhaseText& known : phase_texts(course)) start.phases.push_back(phase_of(experiment, backend, known, *median));
  advise(start, probe, course);
  return start;
}

std::string bar(double share) {
  std::string out;
  for (int i = 0; i < static_cast<int>(share * kBar + 0.5); ++i) out += "█";
  return out;
}

void add_wrapped(std::string& out, const std::string& sentence, const std::string& first, const std::string& rest, int width) {
  const std::size_t room = static_cast<std::size_t>(std::max(width, 40)) - columns(first);
  const std::string* indent = &first;
  for (const std::string& part : wrapped(sentence, room)) {
    out += *indent + part + "\n";
    indent = &rest;
  }
}

std::string phase_line(const ExplainedPhase& phase, std::size_t names) {
  std::string line = padded((phase.part_of.empty() ? "  " : "    ") + phase.name, names);
  line += padded(value_text(*phase.seconds, "s"), 9, true) + padded(percent(phase.share.value_or(0)), 9, true) + "  ";
  line += padded(phase.part_of.empty() ? bar(phase.share.value_or(0)) : "", kBar) + "  " + phase.meaning;
  return line + "\n";
}

void add_start(std::string& out, const ExplainedStart& start, int width) {
  out += start.experiment + " on " + start.backend + (start.emulated ? " (emulated)" : "") + ", start: " + start.start + ": " +
         value_text(start.seconds, "s") + " until ready, median of " + std::to_string(start.trials) +
         (start.trials == 1 ? " trial\n" : " trials\n");
  std::size_t names = 0;
  for (const ExplainedPhase& phase : start.phases) names = std::max(names, phase.name.size() + (phase.part_of.empty() ? 2 : 4));
  double told = 0;
  for (const ExplainedPhase& phase : start.phases) {
    if (phase.seconds) {
      out += phase_line(phase, names);
      if (phase.part_of.empty()) told += phase.share.value_or(0);
    } else {
      add_wrapped(out, phase.missing, padded("  " + phase.name, names) + "        –  ", "    ", width);
    }
  }
  // Medians of parts need not add up to the median of the whole.
  if (std::abs(1 - told) > kSlightest) out += padded("  in no phase", names) + "  " + percent(1 - told) + "\n";
  if (start.advice.empty()) return;
  out += "  What would shorten it:\n";
  for (const std::string& advice : start.advice) add_wrapped(out, advice, "  - ", "    ", width);
}

}  // namespace

std::vector<ExplainedStart> explain(const std::string& result_json) {
  const json::value result = parse_result(result_json);
  std::vector<ExplainedStart> starts;
  for (const json::value& experiment : list(result, "experiments")) {
    if (text(experiment, "measure") != "start") continue;
    for (const json::value& backend : list(result, "backends")) {
      if (auto start = start_of(experiment, backend)) starts.push_back(std::move(*start));
    }
  }
  if (starts.empty()) {
    throw Error(Code::not_found, "no start was measured in this run", "explain a run whose suite has an experiment with `measure: start`");
  }
  return starts;
}

std::string explanation_text(const std::vector<ExplainedStart>& starts, int width) {
  std::string out;
  for (const ExplainedStart& start : starts) {
    if (!out.empty()) out += "\n";
    add_start(out, start, width);
  }
  return out;
}

std::string explanation_json(const std::vector<ExplainedStart>& starts) {
  json::array all;
  for (const ExplainedStart& start : starts) {
    json::object one = {{"experiment", start.experiment}, {"workload", start.workload}, {"backend", start.backend}, {"start", start.start},
                        {"emulated", start.emulated},     {"trials", start.trials},     {"seconds", start.seconds}};
    json::array phases;
    for (const ExplainedPhase& phase : start.phases) {
      json::object entry = {{"name", phase.name}, {"meaning", phase.meaning}};
      if (!phase.part_of.empty()) entry["part_of"] = phase.part_of;
      if (phase.seconds) entry["seconds"] = *phase.seconds;
      if (phase.share) entry["share"] = *phase.share;
      if (!phase.missing.empty()) entry["missing"] = phase.missing;
      phases.emplace_back(std::move(entry));
    }
    one["phases"] = std::move(phases);
    json::array advice;
    for (const std::string& sentence : start.advice) advice.emplace_back(sentence);
    one["advice"] = std::move(advice);
    all.emplace_back(std::move(one));
  }
  json::object out;
  out["starts"] = std::move(all);
  return json_text(out);
}

}  // namespace tare::bench
