// SPDX-License-Identifier: Apache-2.0
#include "bench/sample.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "core/error.h"

namespace tare::bench {
namespace {

constexpr std::string_view kHeader = "run,block,trial,backend,variant,workload,experiment,metric,unit,value,state";
constexpr std::size_t kFields = 11;

std::string quoted(std::string_view field) {
  if (field.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(field);
  std::string out = "\"";
  for (const char c : field) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

// The shortest text that reads back as the same double: all its digits, the same on every platform.
std::string number_text(double value) {
  std::array<char, 32> out{};
  const auto end = std::to_chars(out.data(), out.data() + out.size(), value).ptr;
  return {out.data(), end};
}

// Reads one record from `text` at `at` and leaves `at` behind its newline. RFC 4180: a quoted field may hold commas and newlines.
std::vector<std::string> read_record(std::string_view text, std::size_t& at) {
  std::vector<std::string> fields(1);
  bool in_quotes = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (in_quotes) {
      if (c != '"') {
        fields.back() += c;
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        fields.back() += text[++at];
      } else {
        in_quotes = false;
      }
    } else if (c == '"' && fields.back().empty()) {
      in_quotes = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      ++at;
      return fields;
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  if (in_quotes) throw Error(Code::invalid, "a sample's line ends inside a quoted field");
  return fields;
}

template <class Number>
Number number_in(const std::string& field, std::string_view what) {
  Number number{};
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), number);
  if (error != std::errc() || end != field.data() + field.size()) {
    throw Error(Code::invalid, "a sample's " + std::string(what) + " is '" + field + "', which is not a number");
  }
  return number;
}

Sample sample_of(const std::vector<std::string>& fields) {
  if (fields.size() != kFields) {
    throw Error(Code::invalid, "a sample's line has " + std::to_string(fields.size()) + " fields instead of " + std::to_string(kFields));
  }
  Sample s;
  s.run = fields[0];
  s.block = number_in<int>(fields[1], "block");
  s.trial = number_in<int>(fields[2], "trial");
  s.backend = fields[3];
  s.variant = fields[4];
  s.workload = fields[5];
  s.experiment = fields[6];
  s.metric = fields[7];
  s.unit = fields[8];
  if (!fields[9].empty()) s.value = number_in<double>(fields[9], "value");
  s.state = fields[10];
  return s;
}

}  // namespace

std::string csv_header() { return std::string(kHeader) + "\n"; }

std::string csv_line(const Sample& s) {
  std::string line;
  const std::string value = s.value && std::isfinite(*s.value) ? number_text(*s.value) : std::string();
  const std::string block = std::to_string(s.block);
  const std::string trial = std::to_string(s.trial);
  const std::array<std::string_view, kFields> fields = {s.run,        block,    trial,  s.backend, s.variant, s.workload,
                                                        s.experiment, s.metric, s.unit, value,     s.state};
  for (const std::string_view field : fields) {
    line += quoted(field);
    line += ',';
  }
  line.back() = '\n';
  return line;
}

Sample parse_csv_line(const std::string& line) {
  std::size_t at = 0;
  const Sample sample = sample_of(read_record(line, at));
  if (at < line.size()) throw Error(Code::invalid, "more than one line where one sample was expected");
  return sample;
}

std::vector<Sample> parse_csv(const std::string& text) {
  std::size_t at = 0;
  std::vector<Sample> samples;
  for (int record = 1; at < text.size(); ++record) {
    try {
      const std::size_t start = at;
      const auto fields = read_record(text, at);
      if (record == 1) {
        if (text.compare(start, kHeader.size(), kHeader) != 0)
          throw Error(Code::invalid, "the first line is not the header of samples.csv");
        continue;
      }
      samples.push_back(sample_of(fields));
    } catch (const Error& error) {
      throw Error(error.code(), "samples.csv, record " + std::to_string(record) + ": " + error.sentence());
    }
  }
  return samples;
}

}  // namespace tare::bench
