// SPDX-License-Identifier: Apache-2.0
// Removes what a dead agent left: processes and control groups, links, places on the bridge with their ports, mounts, directories. Only
// instances whose owner is dead, found by the directory that each instance makes first and removes last, are touched.
#pragma once

#include <string>
#include <vector>

#include "core/control_group.h"
#include "core/paths.h"

namespace tare::agent {

struct Swept {
  std::vector<std::string> instances;  // removed
  std::vector<std::string> problems;   // sentences: what could not be removed and why
};

/// Instances that another agent's successor may adopt stay: those whose record names a run directory that is there and is not ours.
/// Any thread; two agents that sweep at the same time do no harm. `groups` may be null where nothing makes control groups.
Swept sweep(const Paths& paths, ControlGroups* groups);

}  // namespace tare::agent
