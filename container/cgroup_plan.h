// SPDX-License-Identifier: Apache-2.0
// Where this host's control groups are. Text in, values out; limits.h says which values limits become there. Any thread.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace tare::container {

/// v1: a hierarchy per controller. v2: one for all. Hybrid: v1 hierarchies, and a v2 tree for tracking, killing, freezing, device files and
/// the controllers that v1 does not hold.
struct CgroupLayout {
  std::map<std::string, std::filesystem::path> v1;  // controller → mount point, of those that tare uses
  std::filesystem::path unified;                    // mount point of the v2 tree; empty on pure v1
  std::set<std::string> v2;                         // its controllers, of those that tare uses
  bool swap = false;                                // v1: memory.memsw.limit_in_bytes exists
  std::string cpus;                                 // "0-3": what a cpuset may name; empty without that controller
  std::string memory_nodes;                         // "0"
  std::vector<std::string> io_weight_files;         // of this host's groups: "io.bfq.weight"; only groups below the root show them

  bool is_v2() const { return v1.empty(); }
  bool is_hybrid() const { return !v1.empty() && !unified.empty(); }
  bool has(const std::string& controller) const { return v1.contains(controller) || v2.contains(controller); }
  /// Whether the files of `controller` are those of v2. A controller is in one hierarchy only.
  bool on_v2(const std::string& controller) const { return !v1.contains(controller); }
  /// "hybrid: blkio cpu cpuacct freezer memory pids, v2 hugetlb".
  std::string text() const;
  /// The distinct v1 mount points: two controllers may share one.
  std::set<std::filesystem::path> v1_mounts() const;
  /// The controllers that every group has, for its accounting and its freezer. Others join where a limit needs them: each hierarchy costs
  /// start time.
  std::set<std::string> accounting() const;
};

/// From the text of /proc/self/mounts; reads cgroup.controllers, the root's cpuset files and looks for the memsw file below the mount
/// points named there. A fake tree is a mounts text with other paths.
CgroupLayout cgroup_layout(std::string_view mounts);

/// Those of the io weight files that the group `directory` (of the controller io or blkio) has.
std::vector<std::string> io_weight_files(const std::filesystem::path& directory);

}  // namespace tare::container
