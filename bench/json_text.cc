// SPDX-License-Identifier: Apache-2.0
#include "bench/json_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace tare::bench {
namespace {

namespace json = boost::json;

// Twelve digits: more than any clock here resolves, and fewer than libm implementations differ in, so that the text is the same everywhere.
// samples.csv keeps every digit.
constexpr int kDigits = 12;

std::string number_text(double value) {
  if (!std::isfinite(value)) return "null";
  std::array<char, 32> out{};
  return {out.data(), std::to_chars(out.data(), out.data() + out.size(), value, std::chars_format::general, kDigits).ptr};
}

bool all_numbers(const json::array& items) {
  return std::all_of(items.begin(), items.end(), [](const json::value& item) { return item.is_number(); });
}

void write(const json::value& value, std::size_t depth, std::string& out);

void new_line(std::size_t depth, std::string& out) {
  out += '\n';
  out.append(2 * depth, ' ');
}

void write_array(const json::array& items, std::size_t depth, std::string& out) {
  const bool in_line = items.empty() || all_numbers(items);
  out += '[';
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += in_line ? ", " : ",";
    if (!in_line) new_line(depth + 1, out);
    write(items[i], depth + 1, out);
  }
  if (!in_line) new_line(depth, out);
  out += ']';
}

void write_object(const json::object& object, std::size_t depth, std::string& out) {
  out += '{';
  bool first = true;
  for (const auto& entry : object) {
    if (!first) out += ',';
    first = false;
    new_line(depth + 1, out);
    out += json::serialize(json::string(entry.key())) + ": ";
    write(entry.value(), depth + 1, out);
  }
  if (!object.empty()) new_line(depth, out);
  out += '}';
}

void write(const json::value& value, std::size_t depth, std::string& out) {
  if (value.is_array()) return write_array(value.as_array(), depth, out);
  if (value.is_object()) return write_object(value.as_object(), depth, out);
  out += value.is_double() ? number_text(value.as_double()) : json::serialize(value);
}

}  // namespace

std::string json_text(const json::value& value) {
  std::string out;
  write(value, 0, out);
  return out + '\n';
}

}  // namespace tare::bench
