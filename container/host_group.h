// SPDX-License-Identifier: Apache-2.0
// One instance's control group on this host: "tare/<instance id>" in the hierarchies that it needs. See core/control_group.h.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "container/cgroup_tree.h"
#include "core/control_group.h"

namespace tare::container {

/// The tree is the caller's and outlives it.
class HostControlGroup final : public ControlGroup {
 public:
  /// The group was made at `paths`, with `limits`; it is ours from now on.
  HostControlGroup(CgroupTree& tree, std::string id, CgroupPaths paths, Limits limits);
  ~HostControlGroup() override;

  const std::string& path() const override { return path_; }
  std::vector<int> tasks_fds() const override;
  int directory_fd() const override { return directory_.get(); }
  bool enter_thread() override;
  void add_process(int pid) override;
  std::vector<int> processes() const override { return cgroup_processes(paths()); }
  Usage usage() const override { return cgroup_usage(paths()); }
  void update(const Limits& limits) override;
  void freeze() override { set_frozen(true); }
  void thaw() override { set_frozen(false); }
  bool kill_all(Deadline deadline) override;
  bool frozen() const override;
  void leave() override { left_ = true; }

 private:
  CgroupPaths paths() const;
  void set_frozen(bool frozen);
  void write_all(const std::vector<CgroupWrite>& writes, const CgroupPaths& paths);
  void join(const CgroupPaths& wider, const std::set<std::filesystem::path>& added);
  void move_into(const std::set<std::filesystem::path>& added);

  CgroupTree& tree_;
  std::string id_;
  std::string path_;
  std::mutex updating_;  // one update() at a time
  Limits limits_;        // under updating_
  mutable std::mutex mutex_;
  CgroupPaths paths_;  // this and the next under mutex_; both only grow
  std::vector<Fd> tasks_;
  Fd directory_;
  bool left_ = false;
};

/// SIGKILL until nothing is left in the group; false when the deadline passes first.
bool kill_group(const CgroupPaths& paths, Deadline deadline);
/// Removes what is there of it. Throws Error naming what stayed.
void remove_group(const CgroupPaths& paths);

}  // namespace tare::container
