// SPDX-License-Identifier: Apache-2.0
// What tare itself costs the host: the agent and its launcher. Any thread.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "bench/runner.h"

namespace tare::agent {

/// One process, from /proc/<pid>/{stat,statm}. Absent when it cannot be read.
struct ProcessCost {
  double cpu_seconds = 0;
  double resident_bytes = 0;
  double virtual_bytes = 0;
  double start_time_seconds = 0;  // unix time
};
std::optional<ProcessCost> cost_of(pid_t pid);
/// Open descriptors of this process, and how many it may have.
std::optional<double> open_descriptors();
std::optional<double> descriptor_limit();

/// The agent and `helpers` together; wall_seconds is the host's monotonic clock, so that a difference of two readings is a span.
bench::AgentCost agent_cost(const std::vector<pid_t>& helpers);

}  // namespace tare::agent
