// SPDX-License-Identifier: Apache-2.0
#include "core/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <optional>

#include "core/error.h"

namespace tare {
namespace {

struct Unit {
  std::string_view word;
  double factor;
};

constexpr double kKi = 1024.0;
// A bare K, M, G, T is binary, as docker run --memory takes it.
constexpr std::array kByteUnits = {
    Unit{"", 1},
    Unit{"B", 1},
    Unit{"k", kKi},
    Unit{"K", kKi},
    Unit{"kB", 1e3},
    Unit{"KB", 1e3},
    Unit{"KiB", kKi},
    Unit{"M", kKi* kKi},
    Unit{"MB", 1e6},
    Unit{"MiB", kKi* kKi},
    Unit{"G", kKi* kKi* kKi},
    Unit{"GB", 1e9},
    Unit{"GiB", kKi* kKi* kKi},
    Unit{"T", kKi* kKi* kKi* kKi},
    Unit{"TB", 1e12},
    Unit{"TiB", kKi* kKi* kKi* kKi},
};
constexpr std::array kTimeUnits = {Unit{"ns", 1},  Unit{"us", 1e3}, Unit{"µs", 1e3},  Unit{"ms", 1e6},
                                   Unit{"s", 1e9}, Unit{"m", 60e9}, Unit{"h", 3600e9}};

template <std::size_t N>
std::optional<double> parse_quantity(std::string_view text, const std::array<Unit, N>& units) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
  std::string_view word(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
  for (const Unit& unit : units) {
    if (unit.word == word) return number * unit.factor;
  }
  return std::nullopt;
}

std::string three_digits(double value, std::string_view unit) {
  std::array<char, 48> out{};
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  std::snprintf(out.data(), out.size(), "%.*f %.*s", decimals, value, static_cast<int>(unit.size()), unit.data());
  return out.data();
}

}  // namespace

Instant Instant::now() noexcept {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return {static_cast<std::int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec};
}

std::chrono::nanoseconds Deadline::left() const {
  const auto left = at_ - Instant::now();
  return left.count() < 0 ? std::chrono::nanoseconds(0) : left;
}

int Deadline::poll_timeout() const {
  if (at_.nanoseconds == INT64_MAX) return -1;
  constexpr std::int64_t kLongest = 1'000'000'000;  // poll(2) takes an int of milliseconds
  const std::int64_t milliseconds = (left().count() + 999'999) / 1'000'000;
  return static_cast<int>(milliseconds < kLongest ? milliseconds : kLongest);
}

Bytes parse_bytes(std::string_view text) {
  const auto value = parse_quantity(text, kByteUnits);
  if (!value || *value > 9.2e18) {
    throw Error(Code::invalid, "'" + std::string(text) + "' is not a size", "write a number and a unit, as 64MiB, 1GB or 512k");
  }
  return {static_cast<std::uint64_t>(std::llround(*value))};
}

std::chrono::nanoseconds parse_duration(std::string_view text) {
  const auto value = parse_quantity(text, kTimeUnits);
  if (!value || *value > 9.2e18) {
    throw Error(Code::invalid, "'" + std::string(text) + "' is not a duration", "write a number and a unit, as 250ms, 10s or 2m");
  }
  return std::chrono::nanoseconds(std::llround(*value));
}

std::set<unsigned> parse_index_list(std::string_view text) {
  constexpr unsigned kMost = 65535;  // above any kernel's: a slip must not fill the memory
  const auto number = [](std::string_view& rest) -> std::optional<unsigned> {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (error != std::errc() || value > kMost) return std::nullopt;
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    return value;
  };
  std::set<unsigned> list;
  for (std::string_view rest = text;;) {
    const auto first = number(rest);
    auto last = first;
    if (first && rest.starts_with('-')) {
      rest.remove_prefix(1);
      last = number(rest);
    }
    if (!first || !last || *last < *first || !(rest.empty() || rest.front() == ',')) {
      throw Error(Code::invalid, "'" + std::string(text) + "' is not a list of numbers", "write numbers and ranges, as 0-3,7");
    }
    for (unsigned i = *first; i <= *last; ++i) list.insert(i);
    if (rest.empty()) return list;
    rest.remove_prefix(1);
  }
}

std::string text_of(Bytes bytes) {
  constexpr std::array<std::string_view, 5> kWords = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes.count);
  std::size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < kWords.size()) {
    value /= kKi;
    ++unit;
  }
  return unit == 0 ? std::to_string(bytes.count) + " B" : three_digits(value, kWords[unit]);
}

std::string text_of_seconds(double seconds) {
  const double size = std::abs(seconds);
  const std::string sign = seconds < 0 ? "-" : "";
  if (size == 0) return "0 s";
  if (size < 0.9995e-6) return sign + three_digits(size * 1e9, "ns");
  if (size < 0.9995e-3) return sign + three_digits(size * 1e6, "µs");
  if (size < 0.9995) return sign + three_digits(size * 1e3, "ms");
  return sign + three_digits(size, "s");
}

}  // namespace tare
