// SPDX-License-Identifier: Apache-2.0
// The host a number was measured on, and what about it would spoil the number.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace tare::bench {

struct HostContext {
  std::map<std::string, std::string> facts;  // "cpu.model", "cpu.governor", "kernel.release", "memory.bytes", …; absent when unknown
  std::vector<std::string> warnings;         // sentences: nested virtualisation, steal, scaling, load, swap, …
};

/// Reads /proc and /sys below `root`.
HostContext host_context(const std::filesystem::path& root = "/");

}  // namespace tare::bench
