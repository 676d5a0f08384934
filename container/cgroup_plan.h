// SPDX-License-Identifier: Apache-2.0
// Where this host's control groups are, and which values limits become there. Pure: text in, values out.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/workload.h"

namespace tare::container {

/// v1: a hierarchy per controller. v2: one for all. Hybrid: v1 hierarchies, and a v2 tree for tracking, killing and freezing.
struct CgroupLayout {
  std::map<std::string, std::filesystem::path> v1;  // controller → mount point, of those that tare uses
  std::filesystem::path unified;                    // mount point of the v2 tree; empty on pure v1
  std::set<std::string> v2;                         // its controllers, of those that tare uses
  bool swap = false;                                // v1: memory.memsw.limit_in_bytes exists

  bool is_v2() const { return v1.empty(); }
  bool is_hybrid() const { return !v1.empty() && !unified.empty(); }
  bool has(const std::string& controller) const { return is_v2() ? v2.contains(controller) : v1.contains(controller); }
  /// "hybrid: blkio cpu cpuacct freezer memory pids".
  std::string text() const;
  /// The distinct v1 mount points: two controllers may share one.
  std::set<std::filesystem::path> v1_mounts() const;
};

/// From the text of /proc/self/mounts; reads cgroup.controllers and looks for the memsw file below the mount points named there.
/// A fake tree is a mounts text with other paths.
CgroupLayout cgroup_layout(std::string_view mounts);

struct CgroupWrite {
  std::string controller;
  std::string file;
  std::string value;
  bool operator==(const CgroupWrite&) const = default;
};
/// In the order in which the kernel takes them. Throws Error(unsuited) naming the controller that a limit needs and this host lacks,
/// Error(invalid) for a limit that no kernel takes.
std::vector<CgroupWrite> cgroup_writes(const Limits& limits, const CgroupLayout& layout);

}  // namespace tare::container
