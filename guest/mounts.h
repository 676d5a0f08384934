// SPDX-License-Identifier: Apache-2.0
// What the workload's mounts are in the guest: a tmpfs of the guest's own, or what virtiofs brings from the host. Fixed memory; one thread.
#pragma once

#include "guest/protocol.h"

namespace tare::guest::mounts {

/// Keeps it for make(). One too many is told there.
void add(const MountAt& mount) noexcept;
/// Makes them, with their targets where the image lacks them, in the root that was entered. Returns nullptr, or the step that failed with
/// errno set.
const char* make() noexcept;

}  // namespace tare::guest::mounts
