// SPDX-License-Identifier: Apache-2.0
// Google Benchmark's JSON, as `probe bench` prints it, turned into numbers. Pure. Private to bench/.
#pragma once

#include <string>
#include <vector>

namespace tare::bench {

struct ProbeValue {
  std::string name;  // "syscall", "syscall.cpu"
  double value = 0;
  std::string unit;  // "ns/op"
};

/// Per benchmark its real time and, as "<name>.cpu", its CPU time, in nanoseconds. Lines before the first that begins with '{' are skipped.
/// Repetitions within one instance are not independent (Kalibera & Jones, ISMM 2013): their median is the one value. Aggregates that the
/// tool itself printed are left out. Throws Error(failed) when there is no JSON, no benchmark, or one of them reports an error.
std::vector<ProbeValue> parse_probe_output(const std::string& output);

}  // namespace tare::bench
