// SPDX-License-Identifier: Apache-2.0
#include "bench/probe_output.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "bench/statistics.h"
#include "core/error.h"

namespace tare::bench {
namespace {

namespace json = boost::json;

struct Series {
  std::string name;
  std::vector<double> real;
  std::vector<double> cpu;
};

[[noreturn]] void fail(const std::string& sentence) {
  throw Error(Code::failed, "the workload's output is no result of Google Benchmark: " + sentence,
              "the command should print its JSON on stdout, as `probe bench` does");
}

std::string_view json_part(const std::string& output) {
  std::size_t start = output.find('{');
  while (start != std::string::npos && start > 0 && output[start - 1] != '\n') start = output.find('{', start + 1);
  if (start == std::string::npos) fail(output.empty() ? "it is empty" : "no line begins with '{'");
  return std::string_view(output).substr(start);
}

// The document may be followed by further lines.
json::value parse_first(std::string_view text) {
  json::stream_parser parser;
  json::error_code error;
  parser.write_some(text.data(), text.size(), error);
  if (!error && !parser.done()) parser.finish(error);
  if (error) fail("its JSON is broken: " + error.message());
  return parser.release();
}

std::string text_in(const json::object& object, std::string_view key) {
  const json::value* found = object.if_contains(key);
  return found != nullptr && found->is_string() ? std::string(found->as_string()) : std::string();
}

std::optional<double> number_in(const json::object& object, std::string_view key) {
  const json::value* found = object.if_contains(key);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  return found->to_number<double>();
}

double nanoseconds_per(const std::string& unit) {
  constexpr std::array<std::pair<std::string_view, double>, 4> kUnits = {{{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}}};
  for (const auto& [word, factor] : kUnits) {
    if (word == unit) return factor;
  }
  fail("time unit '" + unit + "' is unknown");
}

// "file/4096" → "file.4096": a metric's name is words, digits and dots.
std::string metric_word(const std::string& name) {
  std::string out;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    out += plain ? c : (c == '/' || c == ':') ? '.' : '_';
  }
  return out;
}

void add(const json::object& entry, std::vector<Series>& all) {
  const std::string run_name = text_in(entry, "run_name");
  const std::string name = metric_word(run_name.empty() ? text_in(entry, "name") : run_name);
  const json::value* failed = entry.if_contains("error_occurred");
  if (failed != nullptr && failed->is_bool() && failed->as_bool()) {
    throw Error(Code::failed, "benchmark '" + name + "' failed in the workload: " + text_in(entry, "error_message"));
  }
  if (text_in(entry, "run_type") == "aggregate") return;
  const auto real = number_in(entry, "real_time");
  const auto cpu = number_in(entry, "cpu_time");
  if (name.empty() || !real || !std::isfinite(*real)) fail("a benchmark has no name or no real_time");
  const double factor = nanoseconds_per(text_in(entry, "time_unit"));
  auto series = std::find_if(all.begin(), all.end(), [&](const Series& s) { return s.name == name; });
  if (series == all.end()) series = all.insert(all.end(), Series{name, {}, {}});
  series->real.push_back(*real * factor);
  if (cpu && std::isfinite(*cpu)) series->cpu.push_back(*cpu * factor);
}

}  // namespace

std::vector<ProbeValue> parse_probe_output(const std::string& output) {
  const json::value document = parse_first(json_part(output));
  const json::value* benchmarks = document.is_object() ? document.as_object().if_contains("benchmarks") : nullptr;
  if (benchmarks == nullptr || !benchmarks->is_array()) fail("it has no list 'benchmarks'");
  std::vector<Series> all;
  for (const json::value& entry : benchmarks->as_array()) {
    if (!entry.is_object()) fail("a benchmark is no object");
    add(entry.as_object(), all);
  }
  if (all.empty()) fail("it holds no benchmark");
  std::vector<ProbeValue> values;
  for (const Series& series : all) {
    values.push_back({series.name, statistics::median(series.real), "ns/op"});
    if (!series.cpu.empty()) values.push_back({series.name + ".cpu", statistics::median(series.cpu), "ns/op"});
  }
  return values;
}

}  // namespace tare::bench
