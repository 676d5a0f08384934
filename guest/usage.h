// SPDX-License-Identifier: Apache-2.0
// What the guest says of its own use of resources, from /proc.
#pragma once

#include "guest/protocol.h"

namespace tare::guest {

GuestUsage read_usage(std::uint64_t request) noexcept;
/// "oom_kill" of /proc/vmstat: how many processes the kernel killed for memory.
std::uint64_t oom_kills() noexcept;

}  // namespace tare::guest
