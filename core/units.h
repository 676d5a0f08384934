// SPDX-License-Identifier: Apache-2.0
// Quantities with their units in the type, and the way people write them in YAML and read them in tables.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace tare {

/// A number of bytes.
struct Bytes {
  std::uint64_t count = 0;
  auto operator<=>(const Bytes&) const = default;
};
constexpr Bytes operator+(Bytes a, Bytes b) { return {a.count + b.count}; }
constexpr Bytes operator""_KiB(unsigned long long n) { return {n << 10}; }
constexpr Bytes operator""_MiB(unsigned long long n) { return {n << 20}; }
constexpr Bytes operator""_GiB(unsigned long long n) { return {n << 30}; }

/// A moment of the host's CLOCK_MONOTONIC, in nanoseconds. The one clock of every timeline.
struct Instant {
  std::int64_t nanoseconds = 0;
  auto operator<=>(const Instant&) const = default;
  static Instant now() noexcept;
};
constexpr std::chrono::nanoseconds operator-(Instant a, Instant b) { return std::chrono::nanoseconds(a.nanoseconds - b.nanoseconds); }
constexpr Instant operator+(Instant a, std::chrono::nanoseconds d) { return {a.nanoseconds + d.count()}; }

/// The moment after which waiting is given up.
class Deadline {
 public:
  static Deadline in(std::chrono::nanoseconds duration) { return Deadline(Instant::now() + duration); }
  static Deadline never() { return Deadline(Instant{INT64_MAX}); }
  explicit Deadline(Instant at) : at_(at) {}
  Instant at() const { return at_; }
  bool passed() const { return Instant::now() >= at_; }
  /// Time left, never negative.
  std::chrono::nanoseconds left() const;
  /// Time left as poll(2) and epoll_wait(2) take it: rounded up to a millisecond, -1 for never.
  int poll_timeout() const;

 private:
  Instant at_;
};

/// "64MiB", "1GB", "512k", "1048576": a number and one of B, k/kB, KiB, MB, MiB, GB, GiB, TB, TiB (a bare K, M, G, T is binary,
/// as Docker reads it). Throws Error(invalid) that quotes the text and says the form.
Bytes parse_bytes(std::string_view text);
/// "250ms", "10s", "1.5m", "2h", "100us": a number and a unit. Throws Error(invalid).
std::chrono::nanoseconds parse_duration(std::string_view text);
/// "0-3,7": numbers and ranges, as the kernel writes lists of CPUs and of memory nodes. Throws Error(invalid).
std::set<unsigned> parse_index_list(std::string_view text);

/// "1.5 GiB", "312 KiB", "0 B": three significant digits, binary units.
std::string text_of(Bytes bytes);
/// "1.63 s", "14.2 ms", "85 µs": three significant digits; seconds as a double because medians are.
std::string text_of_seconds(double seconds);

}  // namespace tare
