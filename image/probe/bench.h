// SPDX-License-Identifier: Apache-2.0
// What the micro-benchmarks share. Each verifies its own work and says so by an error, because a number for work that was not done
// is worse than none; each reports a counter `checksum` that is the same wherever the work was the same.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>

namespace probe {

/// Where the file benchmarks make and remove their directory. Set before the first benchmark runs.
extern std::string bench_directory;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): benchmarks take no arguments

/// Keeps this thread, and what it starts, on the CPU it runs on until the owner dies: so that a hand-over is a switch and not a wake-up of
/// another CPU, with one virtual CPU as with many real ones.
class OneCpu {
 public:
  OneCpu();
  ~OneCpu();
  OneCpu(const OneCpu&) = delete;
  OneCpu& operator=(const OneCpu&) = delete;
  bool pinned() const { return pinned_; }

 private:
  struct Set;
  Set* before_;
  bool pinned_ = false;
};

/// Ends the benchmark with "what: error text".
void fail(benchmark::State& state, const std::string& what, int error);

void int_arithmetic(benchmark::State& state);
void float_arithmetic(benchmark::State& state);
void memory_triad(benchmark::State& state);
void pointer_chase(benchmark::State& state);
void syscall_cost(benchmark::State& state);
void context_switch(benchmark::State& state);
void page_fault(benchmark::State& state);
void thread_create(benchmark::State& state);
void loopback_round_trip(benchmark::State& state);
void file_read(benchmark::State& state, std::size_t block);
void file_write(benchmark::State& state, std::size_t block);

}  // namespace probe
