// SPDX-License-Identifier: Apache-2.0
// What every performance case shares: samples, their median, and the report `NAME  ours  peer  ratio  goal  ok|over` (`--json FILE` for
// the same as JSON). Exit code 4 when a goal is missed, 1 when ours could not be measured; a peer that cannot run here is no failure. Peers
// are measured in the same run, interleaved. Single-threaded.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/files.h"
#include "core/units.h"

namespace tare::perf {

inline double quantile(std::vector<double> samples, double q) {
  if (samples.empty()) return std::nan("");
  std::sort(samples.begin(), samples.end());
  const double place = q * static_cast<double>(samples.size() - 1);
  const auto low = static_cast<std::size_t>(place);
  const std::size_t high = std::min(low + 1, samples.size() - 1);
  return samples[low] + (place - static_cast<double>(low)) * (samples[high] - samples[low]);
}
inline double median(std::vector<double> samples) { return quantile(std::move(samples), 0.5); }

/// One thing that is timed: a call gives seconds (or whatever unit the case reports). An exception leaves the whole case missing.
struct Subject {
  std::string name;
  std::function<double()> sample;
};

struct Samples {
  std::string name;
  std::vector<double> values;
  std::string failure;  // why there are no more; empty when all is well
};

/// `count` samples of each subject, a round of all of them at a time in changing order, `gap` before each sample. One unrecorded round
/// first.
inline std::vector<Samples> interleave(const std::vector<Subject>& subjects, int count, std::chrono::microseconds gap) {
  std::vector<Samples> all;
  for (const Subject& subject : subjects) all.push_back({subject.name, {}, {}});
  for (int round = -1; round < count; ++round) {
    for (std::size_t i = 0; i < subjects.size(); ++i) {
      const std::size_t which = (i + static_cast<std::size_t>(round + 1)) % subjects.size();
      if (!all[which].failure.empty()) continue;
      if (gap.count() > 0) std::this_thread::sleep_for(gap);
      try {
        const double value = subjects[which].sample();
        if (round >= 0) all[which].values.push_back(value);
      } catch (const std::exception& error) {
        all[which].failure = error.what();
        all[which].values.clear();
      }
    }
  }
  return all;
}

class Report {
 public:
  /// [--json FILE] [-n SAMPLES] [NAME…]: with names, only lines that begin with one of them.
  Report(int count, char** arguments) {
    for (int i = 1; i < count; ++i) {
      const std::string word = arguments[i];
      if (word == "--json" && i + 1 < count) {
        json_file_ = arguments[++i];
      } else if (word == "-n" && i + 1 < count) {
        samples_ = std::max(1, std::atoi(arguments[++i]));
      } else {
        names_.push_back(word);
      }
    }
  }
  int samples() const { return samples_; }
  /// Whether a line that begins with `prefix` may be asked for: a case need not measure what nobody wants to see.
  bool wants(const std::string& prefix) const {
    return names_.empty() ||
           std::any_of(names_.begin(), names_.end(), [&](const std::string& n) { return n.starts_with(prefix) || prefix.starts_with(n); });
  }

  /// `goal`: the greatest ratio ours / peer that is good. Without a sample of ours it is failed(), without one of the peer's missing().
  void ratio(const std::string& name, const Samples& ours, const Samples& peer, double goal, const std::string& unit = "s") {
    if (ours.values.empty()) return failed(name, ours.name + ": " + ours.failure);
    if (peer.values.empty()) return missing(name, peer.name + " does not run here: " + peer.failure);
    Line line{name, unit, median(ours.values), median(peer.values), goal, {}, ours.values, peer.values};
    add(line);
  }
  /// A number of ours against a limit.
  void limit(const std::string& name, double ours, double most, const std::string& unit) {
    add({name, unit, ours, most, 1.0, {}, {ours}, {}});
  }
  /// Cannot be measured here, and need not be: a peer is not installed, or this host lacks what the case is about.
  void missing(const std::string& name, const std::string& reason) { add({name, "", 0, 0, 0, reason, {}, {}}); }
  /// Ours did not do what was to be measured.
  void failed(const std::string& name, const std::string& reason) {
    failed_ = failed_ || chosen(name);
    add({name, "", 0, 0, 0, "FAILED: " + reason, {}, {}});
  }
  /// Facts that a reader of the numbers wants; not judged.
  void note(const std::string& text) {
    std::printf("# %s\n", text.c_str());
    std::fflush(stdout);
  }

  /// Writes the JSON file and gives the program's exit code.
  int finish() const {
    if (!json_file_.empty()) write_file_atomic(json_file_, json());
    if (failed_) return 1;
    return std::any_of(lines_.begin(), lines_.end(), [](const Line& l) { return l.over(); }) ? 4 : 0;
  }

 private:
  struct Line {
    std::string name;
    std::string unit;
    double ours;
    double peer;
    double goal;
    std::string missing;
    std::vector<double> our_samples;
    std::vector<double> peer_samples;
    double ratio() const { return ours / peer; }
    bool over() const { return missing.empty() && !(ratio() <= goal); }
    const char* verdict() const { return !missing.empty() ? "missing" : over() ? "over" : "ok"; }
  };

  static std::string amount(double value, const std::string& unit) {
    if (unit == "s") return text_of_seconds(value);
    if (unit == "B") return text_of(Bytes{static_cast<std::uint64_t>(value)});
    char text[64];
    std::snprintf(text, sizeof text, "%.4g %s", value, unit.c_str());
    return text;
  }

  bool chosen(const std::string& line) const {
    const auto begins = [&](const std::string& name) { return line.starts_with(name); };
    return names_.empty() || std::any_of(names_.begin(), names_.end(), begins);
  }

  void add(Line line) {
    if (!chosen(line.name)) return;
    if (line.missing.empty()) {
      std::printf("%-40s  %10s  %10s  %6.3f  %6.3f  %s\n", line.name.c_str(), amount(line.ours, line.unit).c_str(),
                  amount(line.peer, line.unit).c_str(), line.ratio(), line.goal, line.verdict());
    } else {
      std::printf("%-40s  missing: %s\n", line.name.c_str(), line.missing.c_str());
    }
    std::fflush(stdout);
    lines_.push_back(std::move(line));
  }

  static std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    out += '"';
    return out;
  }
  static std::string number(double value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", value);
    return text;
  }
  static std::string list(const std::vector<double>& values) {
    std::string out = "[";
    for (const double value : values) {
      if (out.size() > 1) out += ',';
      out += number(value);
    }
    out += ']';
    return out;
  }
  std::string json() const {
    std::string out = "[";
    for (const Line& line : lines_) {
      out += out.size() > 1 ? ",\n" : "\n";
      out += "{\"name\":" + quoted(line.name) + ",\"verdict\":" + quoted(line.verdict());
      if (!line.missing.empty()) {
        out += ",\"reason\":" + quoted(line.missing) + "}";
        continue;
      }
      out += ",\"unit\":" + quoted(line.unit) + ",\"ours\":" + number(line.ours) + ",\"peer\":" + number(line.peer) +
             ",\"ratio\":" + number(line.ratio()) + ",\"goal\":" + number(line.goal) + ",\"our_samples\":" + list(line.our_samples) +
             ",\"peer_samples\":" + list(line.peer_samples) + "}";
    }
    return out + "\n]\n";
  }

  bool failed_ = false;
  int samples_ = 100;
  std::string json_file_;
  std::vector<std::string> names_;
  std::vector<Line> lines_;
};

/// The main function of a performance program: `run` fills the report and gives the exit code. What it throws ends the program with 1.
inline int run_program(int count, char** arguments, const char* name, int (*run)(Report&)) {
  Report report(count, arguments);
  try {
    return run(report);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace tare::perf
