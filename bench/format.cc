// SPDX-License-Identifier: Apache-2.0
#include "bench/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace tare::bench {
namespace {

struct Scale {
  double factor;
  std::string_view word;
};

constexpr std::array kSeconds = {Scale{1, "s"}, Scale{1e-3, "ms"}, Scale{1e-6, "µs"}, Scale{1e-9, "ns"}};
constexpr std::array kBytes = {Scale{1099511627776.0, "TiB"}, Scale{1073741824.0, "GiB"}, Scale{1048576.0, "MiB"}, Scale{1024.0, "KiB"},
                               Scale{1, "B"}};
constexpr std::array kPerOperation = {Scale{1e9, "s/op"}, Scale{1e6, "ms/op"}, Scale{1e3, "µs/op"}, Scale{1, "ns/op"}};

// The largest scale of which `value` is at least one after rounding to three digits; the last one for what is smaller.
template <std::size_t N>
Scale scale_in(const std::array<Scale, N>& scales, double value) {
  for (const Scale& scale : scales) {
    if (std::abs(value) >= 0.9995 * scale.factor) return scale;
  }
  return scales.back();
}

Scale scale_of(double value, std::string_view unit) {
  if (unit == "s") return value == 0 ? kSeconds[0] : scale_in(kSeconds, value);
  if (unit == "bytes") return scale_in(kBytes, value);
  if (unit == "ns/op") return scale_in(kPerOperation, value);
  return {1, unit == "1" ? std::string_view() : unit};
}

int decimals_for(double value) {
  const double size = std::abs(value);
  if (size == 0 || size >= 99.95) return 0;
  if (size >= 9.995) return 1;
  if (size >= 0.9995) return 2;
  return size >= 0.0995 ? 3 : 4;
}

std::string fixed(double value, int decimals) {
  std::array<char, 64> out{};
  std::snprintf(out.data(), out.size(), "%.*f", decimals, value);
  std::string text = out.data();
  // "-0.00" is zero.
  if (text.front() == '-' && text.find_first_of("123456789") == std::string::npos) text.erase(0, 1);
  return text;
}

bool whole(double value) { return std::abs(value) < 1e15 && value == std::floor(value); }

int decimals_in(double value, std::string_view unit, const Scale& scale) {
  if (unit == "bytes" && scale.factor == 1) return 0;  // no half bytes
  return unit == "1" && whole(value) ? 0 : decimals_for(value / scale.factor);
}

std::string pair_text(const std::string& low, const std::string& high) { return "[" + low + ", " + high + "]"; }

}  // namespace

std::string value_text(double value, std::string_view unit) {
  const Scale scale = scale_of(value, unit);
  const std::string number = fixed(value / scale.factor, decimals_in(value, unit, scale));
  return scale.word.empty() ? number : number + " " + std::string(scale.word);
}

std::string interval_text(double value, double low, double high, std::string_view unit) {
  const Scale scale = scale_of(value, unit);
  const int decimals = decimals_in(value, unit, scale);
  return pair_text(fixed(low / scale.factor, decimals), fixed(high / scale.factor, decimals));
}

std::string ratio_text(double ratio) { return "×" + fixed(ratio, decimals_for(ratio)); }

std::string ratio_interval_text(double ratio, double low, double high) {
  return pair_text(fixed(low, decimals_for(ratio)), fixed(high, decimals_for(ratio)));
}

std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string padded(std::string_view text, std::size_t width, bool right) {
  const std::size_t used = columns(text);
  const std::string fill(width > used ? width - used : 0, ' ');
  return right ? fill + std::string(text) : std::string(text) + fill;
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
  std::vector<std::string> lines(1);
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word(text.substr(at, end - at));
    at = end + 1;
    if (word.empty()) continue;
    if (!lines.back().empty() && columns(lines.back()) + 1 + columns(word) > width) lines.emplace_back();
    if (!lines.back().empty()) lines.back() += ' ';
    lines.back() += word;
  }
  return lines;
}

}  // namespace tare::bench
