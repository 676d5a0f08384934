// SPDX-License-Identifier: Apache-2.0
#include "guest/usage.h"

#include <unistd.h>

#include "guest/kernel.h"
#include "guest/usage_text.h"

namespace tare::guest {

std::uint64_t oom_kills() noexcept { return number_after(read_text("/proc/vmstat"), "oom_kill "); }

GuestUsage read_usage(std::uint64_t request) noexcept {
  GuestUsage usage;
  usage.id = request;
  const CpuTicks cpu = cpu_ticks(read_text("/proc/stat"));
  const std::uint64_t tick = 1'000'000'000 / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  usage.cpu_nanoseconds = cpu.busy * tick;
  usage.steal_nanoseconds = cpu.steal * tick;
  const char* memory = read_text("/proc/meminfo");
  usage.memory_total = number_after(memory, "MemTotal:") * 1024;
  usage.memory_used = usage.memory_total - number_after(memory, "MemAvailable:") * 1024;
  usage.oom_kills = oom_kills();
  usage.disk = disk_traffic(read_text("/proc/diskstats"));
  usage.network = network_traffic(read_text("/proc/net/dev"));
  return usage;
}

}  // namespace tare::guest
