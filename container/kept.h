// SPDX-License-Identifier: Apache-2.0
// What the directory of an instance that may outlive its agent holds for the next one: the plan as the launcher got it, how it was
// started, and the addresses of its link. Any thread.
#pragma once

#include <optional>
#include <string>

#include "container/plan.h"
#include "core/instance_dir.h"
#include "core/netlink.h"
#include "core/workload.h"

namespace tare::container {

void keep(const Plan& plan, Start started_as, const InstanceDir& directory);
void keep(const netlink::Subnet& subnet, const InstanceDir& directory);

/// Throws Error(conflict) for one of another version.
Plan kept_plan(const InstanceDir& directory);
/// The name of its start; nothing for a cold one.
std::optional<std::string> kept_start(const InstanceDir& directory);
std::optional<netlink::Subnet> kept_subnet(const InstanceDir& directory);

}  // namespace tare::container
