// SPDX-License-Identifier: Apache-2.0
// What files of the guest's /proc say, as numbers. No allocation, no exception.
#pragma once

#include "guest/protocol.h"

namespace tare::guest {

/// Of the text of /proc/stat, in ticks (proc(5)): what ran, and what was stolen.
struct CpuTicks {
  std::uint64_t busy = 0;   // user, nice, system, irq, softirq; the time of a guest of this guest is in user and nice
  std::uint64_t steal = 0;  // 0 where the hypervisor does not tell, as without KVM
};
CpuTicks cpu_ticks(const char* stat) noexcept;
/// The sum over whole virtio disks in the text of /proc/diskstats, whose sectors have 512 bytes whatever the disk says.
Traffic disk_traffic(const char* diskstats) noexcept;
/// The sum over the interfaces but lo in the text of /proc/net/dev.
Traffic network_traffic(const char* dev) noexcept;

}  // namespace tare::guest
