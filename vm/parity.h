// SPDX-License-Identifier: Apache-2.0
// In what a guest differs from the host that it is compared with. Pure, but for host_facts().
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "core/units.h"
#include "vm/profile.h"

namespace tare::vm {

/// The host as the workload would find it on metal, under its limits.
Facts host_facts(const VmPlan& plan, const Limits& limits, const HostOffer& offer, const std::filesystem::path& root = "/");

/// "parity kernel", "parity cpus", "parity memory", "parity nodes" and "parity flags": what both have, or `missing` with what differs and
/// the remedy, if there is one.
std::vector<Trait> parity(const Facts& host, const Facts& guest);

}  // namespace tare::vm
