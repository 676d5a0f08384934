// SPDX-License-Identifier: Apache-2.0
// This host's control group trees, and libcgroup, which sets the limits in them and deletes them. Thread-safe.
#pragma once

#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "container/cgroup_plan.h"
#include "container/cgroup_usage.h"
#include "container/limits.h"

namespace tare::container {

/// Our groups are /tare/<instance id> in each hierarchy.
constexpr const char* kParentGroup = "tare";

class CgroupTree {
 public:
  /// Reads the layout and starts libcgroup. Throws Error(unsuited) when no cgroup file system is mounted.
  CgroupTree();
  ~CgroupTree();
  CgroupTree(const CgroupTree&) = delete;
  CgroupTree& operator=(const CgroupTree&) = delete;

  const CgroupLayout& layout() const { return layout_; }
  /// The same with the io weight files, where `limits` need them: only a group below the root shows which there are.
  CgroupLayout layout_for(const Limits& limits);
  /// Mount points of all hierarchies.
  std::set<std::filesystem::path> mounts() const;
  /// Where the group of `id` is in the v1 hierarchies of `controllers`, and in the v2 tree.
  CgroupPaths paths_of(const std::string& id, const std::set<std::string>& controllers) const;
  /// In every hierarchy that tare uses.
  CgroupPaths paths_of(const std::string& id) const;

  /// Makes the group in the hierarchies of `controllers`, with its parents ready for it, and its v2 directory.
  void create(const std::string& id, const std::set<std::string>& controllers, const std::vector<CgroupWrite>& writes);
  /// One write to an existing group.
  void set(const std::string& id, const CgroupWrite& write);
  /// Lets libcgroup delete it everywhere. What that leaves is the caller's to look for.
  void remove(const std::string& id);

 private:
  void make_parents(const std::set<std::string>& controllers);

  CgroupLayout layout_;
  std::mutex mutex_;
  std::set<std::string> passed_on_;  // controllers that the v2 parents pass on
};

/// write(2) per line. Throws Error naming the file.
void write_lines(const std::filesystem::path& file, const std::string& value);

}  // namespace tare::container
