// SPDX-License-Identifier: Apache-2.0
// The host a number was measured on, and what about it would spoil the number.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace tare::bench {

/// One question of `tare doctor`.
struct Check {
  std::string name;  // "governor", "nested", …: stable, a label of the metric tare_check_ok
  bool ok = true;
  std::string sentence;  // what was found, in plain words
  std::string remedy;    // the command that mends it, or what to do; empty when all is well or nothing can be done
};

struct HostContext {
  std::map<std::string, std::string> facts;  // "cpu.model", "cpu.governor", "kernel.release", "memory.bytes", …; absent when unknown
  std::vector<std::string> warnings;         // the sentences of the checks that are not ok, with their remedies
  std::vector<Check> checks;                 // in a fixed order; one that this host cannot answer is left out
};

/// Reads /proc and /sys below `root`; calls no program. Any thread.
HostContext host_context(const std::filesystem::path& root = "/");

}  // namespace tare::bench
