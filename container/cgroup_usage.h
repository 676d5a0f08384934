// SPDX-License-Identifier: Apache-2.0
// Reads what a control group has cost and who is in it, from its files. The paths are the caller's, so that a test passes a fake tree.
// Any thread.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/usage.h"

namespace tare::container {

/// The directories of one group.
struct CgroupPaths {
  std::map<std::string, std::filesystem::path> v1;  // controller → directory
  std::filesystem::path unified;                    // empty on pure v1
  std::filesystem::path proc = "/proc";
  /// Each once: two controllers may share a hierarchy.
  std::set<std::filesystem::path> v1_directories() const;
  std::set<std::filesystem::path> directories() const;
};

/// Process ids in the group, in all its hierarchies, each once, ascending.
std::vector<int> cgroup_processes(const CgroupPaths& paths);
/// Every field that the group's files and its processes' /proc files tell; the rest stays absent.
Usage cgroup_usage(const CgroupPaths& paths);

}  // namespace tare::container
