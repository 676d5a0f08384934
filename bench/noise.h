// SPDX-License-Identifier: Apache-2.0
// Detectors of what disturbed a trial from outside. Read once before and once after each trial, never inside the timed window, by the same
// rule for every backend. A disturbed trial counts; it is marked. Private to bench/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/units.h"

namespace tare::bench {

/// Counters of the host at one moment; absent where the kernel does not tell.
struct NoiseReading {
  Instant at;
  std::optional<double> busy;          // CPU seconds of all CPUs, without idle, iowait and steal ("cpu " of /proc/stat)
  std::optional<double> steal;         // CPU seconds that a hypervisor kept from us
  std::optional<double> pressure;      // seconds in which some task waited for a CPU ("some … total" of /proc/pressure/cpu)
  std::optional<std::uint64_t> swaps;  // pages swapped in and out (pswpin, pswpout of /proc/vmstat)
  int cpus = 0;                        // CPUs that /proc/stat lists
};
NoiseReading read_noise(const std::filesystem::path& root);

struct Disturbance {
  std::string reason;    // "steal", "foreign-cpu", "pressure", "swap": the word in `suspect:<reason>`
  std::string sentence;  // with the numbers
};
/// `own_cpu`: CPU seconds of the instance and of the agent in the window, which are no disturbance.
std::optional<Disturbance> disturbance(const NoiseReading& before, const NoiseReading& after, double own_cpu);

}  // namespace tare::bench
