// SPDX-License-Identifier: Apache-2.0
// The control groups of this host, with limits and deletion by libcgroup; see core/control_group.h for the contract.
#pragma once

#include <memory>

#include "core/control_group.h"

namespace tare::container {

/// Throws Error(unsuited) when no cgroup file system is mounted.
std::unique_ptr<ControlGroups> make_control_groups();

}  // namespace tare::container
