// SPDX-License-Identifier: Apache-2.0
#include "vm/host_clock.h"

#include <x86intrin.h>

#include <cmath>
#include <ctime>

namespace tare::vm {
namespace {

struct Reading {
  std::uint64_t ticks;
  std::int64_t nanoseconds;
};

// The tightest of a few pairs: an interrupt between the two readings would skew the rate.
Reading read_both() {
  Reading best{};
  std::uint64_t least = UINT64_MAX;
  for (int i = 0; i < 20; ++i) {
    timespec time{};
    const std::uint64_t before = __rdtsc();
    ::clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    const std::uint64_t after = __rdtsc();
    if (after - before >= least) continue;
    least = after - before;
    best = {before + least / 2, std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec};
  }
  return best;
}

std::uint64_t measure() {
  const Reading first = read_both();
  const timespec pause{0, 50'000'000};
  ::nanosleep(&pause, nullptr);
  const Reading last = read_both();
  const auto elapsed = static_cast<double>(last.nanoseconds - first.nanoseconds);
  return static_cast<std::uint64_t>(std::llround(static_cast<double>(last.ticks - first.ticks) * 1e6 / elapsed));
}

}  // namespace

std::uint64_t tsc_khz() {
  static const std::uint64_t measured = measure();
  return measured;
}

}  // namespace tare::vm
