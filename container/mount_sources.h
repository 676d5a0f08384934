// SPDX-License-Identifier: Apache-2.0
// What a workload's mounts bring from the host, opened before there is a process: directories, volumes and device nodes. Any thread.
#pragma once

#include <string>
#include <vector>

#include "container/mount_plan.h"
#include "core/fd.h"
#include "core/paths.h"

namespace tare::container {

/// The workload's device nodes as the host has them. Throws Error naming `who` and the path that is none.
std::vector<DeviceNode> host_devices(const Workload& workload, const std::string& who);

/// A user namespace for what is opened, and its first id on the host.
struct OwnIds {
  int user_namespace = -1;
  std::uint32_t first = 0;
};

/// The trees of `plan` in its order: clones that are mounted nowhere, private, with the step's flags on every mount in them, and with the
/// ids of a user namespace where there is one. The directory of a volume is made when it is missing and stays. Throws Error naming `who`,
/// the target and the source; refuses tare's own directories.
std::vector<Fd> open_trees(const MountPlan& plan, const Paths& paths, const std::string& who, const OwnIds& ids = {});

}  // namespace tare::container
