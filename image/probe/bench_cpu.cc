// SPDX-License-Identifier: Apache-2.0
// Work that never enters the kernel: arithmetic and memory.
#include <cmath>
#include <numeric>
#include <vector>

#include "image/probe/bench.h"

namespace probe {
namespace {

constexpr int kSteps = 1000;

/// A chain in which each step needs the one before: rotations, additions and a multiplication.
constexpr std::uint64_t int_chain(std::uint64_t x) {
  for (int i = 0; i < kSteps; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    x = x * 0x9e3779b97f4a7c15U + 1;
  }
  return x;
}

/// The logistic map at a chaotic parameter: one wrong rounding anywhere changes the result beyond recognition.
constexpr double float_chain(double x) {
  for (int i = 0; i < kSteps; ++i) x = 3.75 * x * (1.0 - x);
  return x;
}

constexpr std::uint64_t kIntSeed = 88172645463325252U;
constexpr std::uint64_t kIntResult = int_chain(kIntSeed);  // the compiler's own answer, to check the machine's against
constexpr double kFloatSeed = 0.31;
constexpr double kFloatResult = float_chain(kFloatSeed);

}  // namespace

void int_arithmetic(benchmark::State& state) {
  std::uint64_t result = kIntResult;
  while (state.KeepRunningBatch(kSteps)) {
    std::uint64_t seed = kIntSeed;
    benchmark::DoNotOptimize(seed);
    result = int_chain(seed);
    benchmark::DoNotOptimize(result);
    if (result != kIntResult) break;
  }
  if (result != kIntResult) state.SkipWithError("wrong result of integer arithmetic");
  state.counters["checksum"] = static_cast<double>(result >> 12);
}

void float_arithmetic(benchmark::State& state) {
  double result = kFloatResult;
  while (state.KeepRunningBatch(kSteps)) {
    double seed = kFloatSeed;
    benchmark::DoNotOptimize(seed);
    result = float_chain(seed);
    benchmark::DoNotOptimize(result);
    if (!(result == kFloatResult)) break;
  }
  if (!(result == kFloatResult)) state.SkipWithError("wrong result of floating-point arithmetic");
  state.counters["checksum"] = result;
}

/// a = b + s·c over three arrays of 8 MiB: larger than the caches of a core, small enough for a guest of 256 MiB.
void memory_triad(benchmark::State& state) {
  constexpr std::size_t kCount = (8U << 20) / sizeof(double);
  std::vector<double> a(kCount, 0.0);
  std::vector<double> b(kCount);
  std::vector<double> c(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    b[i] = static_cast<double>(i % 1024);
    c[i] = static_cast<double>(i % 7);
  }
  for (auto _ : state) {
    double scalar = 3.0;
    benchmark::DoNotOptimize(scalar);
    for (std::size_t i = 0; i < kCount; ++i) a[i] = b[i] + scalar * c[i];
    benchmark::ClobberMemory();
  }
  double sum = 0;
  double expected = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    sum += a[i];
    expected += static_cast<double>(i % 1024) + 3.0 * static_cast<double>(i % 7);
  }
  if (sum != expected) state.SkipWithError("wrong sum after the triad");
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(3 * kCount * sizeof(double)));
  state.counters["checksum"] = sum;
}

/// Loads that each need the one before, in a random cycle through 8 MiB of cache lines; the time is that of one load.
void pointer_chase(benchmark::State& state) {
  struct alignas(64) Line {
    Line* next = nullptr;
  };
  constexpr std::size_t kCount = (8U << 20) / sizeof(Line);
  constexpr std::size_t kHops = 1000;
  std::vector<Line> lines(kCount);
  std::vector<std::uint32_t> order(kCount);
  std::iota(order.begin(), order.end(), 0U);
  std::uint64_t random = kIntSeed;
  for (std::size_t i = kCount - 1; i > 0; --i) {
    random = random * 6364136223846793005U + 1442695040888963407U;
    std::swap(order[i], order[(random >> 33) % (i + 1)]);
  }
  for (std::size_t i = 0; i < kCount; ++i) lines[order[i]].next = &lines[order[(i + 1) % kCount]];

  const Line* at = &lines[order[0]];
  std::size_t hops = 0;
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(kHops))) {
    for (std::size_t i = 0; i < kHops; ++i) at = at->next;
    benchmark::DoNotOptimize(at);
    hops += kHops;
  }
  if (at != &lines[order[hops % kCount]]) state.SkipWithError("the chase ended at the wrong place");
  state.counters["checksum"] = static_cast<double>(order[kHops]);
}

}  // namespace probe
