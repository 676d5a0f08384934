// SPDX-License-Identifier: Apache-2.0
// The control group of one instance, as backends see it. container/ implements it with libcgroup for cgroup v1, v2 and the hybrid
// layout; vm/ gets it from the agent, so that QEMU is counted by the same instrument as a native workload.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/usage.h"
#include "core/workload.h"

namespace tare {

/// Device files that a group's tasks may open or make. -1 stands for every number.
struct DeviceRule {
  char type = 'c';  // 'c' character or 'b' block
  int major = -1;
  int minor = -1;
  std::string access = "rwm";  // of 'r' open for reading, 'w' for writing, 'm' mknod
  bool operator==(const DeviceRule&) const = default;
};
/// What no rule allows is refused with EPERM.
using DeviceList = std::vector<DeviceRule>;

/// One control group per controller hierarchy, all at the same path. Removed, with what lives in it killed, when the owner dies.
/// Thread-safe: usage() may be asked for during an update().
class ControlGroup {
 public:
  virtual ~ControlGroup() = default;
  /// "tare/<instance id>", below the root of each hierarchy.
  virtual const std::string& path() const = 0;

  /// How a child enters without a pid write, which waits ~15 ms for RCU (START.md §0.1). v1 and hybrid: descriptors of the `tasks`
  /// files; a single-threaded child writes "0" to each. v2: empty.
  virtual std::vector<int> tasks_fds() const = 0;
  /// v2 (and the v2 tree of the hybrid layout): descriptor of the directory for clone3's CLONE_INTO_CGROUP; -1 on pure v1.
  virtual int directory_fd() const = 0;
  /// Moves the calling thread (v1: this thread alone; what it forks inherits). False on pure v2, where a thread cannot move alone.
  virtual bool enter_thread() = 0;
  /// Moves a process with all its threads, by pid. Slow after an idle gap: never on the path of a start.
  virtual void add_process(int pid) = 0;

  /// Process ids in the group now.
  virtual std::vector<int> processes() const = 0;
  /// CPU, memory, I/O, pids and OOM of the group; PSS and context switches summed over processes(). Network is left absent.
  virtual Usage usage() const = 0;
  /// Changes the limits that are given, while it runs; absent ones stay as they are. Throws Error naming the limit that the kernel did
  /// not take; all are then as they were before. Not for a start: it may move processes by pid into a further hierarchy.
  virtual void update(const Limits& limits) = 0;
  virtual void freeze() = 0;
  virtual bool frozen() const = 0;
  virtual void thaw() = 0;
  /// SIGKILL to all in the group until it is empty or the deadline passes; true when empty.
  virtual bool kill_all(Deadline deadline) = 0;
  /// Gives up ownership: group and processes stay when this owner dies.
  virtual void leave() = 0;
};

/// Makes control groups. Thread-safe.
class ControlGroups {
 public:
  virtual ~ControlGroups() = default;
  /// "v1", "v2" or "hybrid", and the controllers found.
  virtual std::string layout() const = 0;
  /// With `devices`, all others are denied. Throws Error(unsuited) naming the controller that a limit needs and this host lacks.
  virtual std::unique_ptr<ControlGroup> create(const std::string& instance_id, const Limits& limits,
                                               const std::optional<DeviceList>& devices) = 0;
  /// A group that may use every device.
  std::unique_ptr<ControlGroup> create(const std::string& instance_id, const Limits& limits) {
    return create(instance_id, limits, std::nullopt);
  }
  /// The group of a dead owner's instance, which was made with `limits`; ours from now on. Throws Error when it is gone.
  virtual std::unique_ptr<ControlGroup> adopt(const std::string& instance_id, const Limits& limits) = 0;
  /// Instance ids that have a group on this host, whoever made it.
  virtual std::vector<std::string> ids() const = 0;
  /// Kills what lives in the group of a dead owner's instance and removes it in every hierarchy. Throws Error naming what stayed.
  virtual void remove_leftover(const std::string& instance_id) = 0;
};

}  // namespace tare
