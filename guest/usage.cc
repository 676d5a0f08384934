// SPDX-License-Identifier: Apache-2.0
#include "guest/usage.h"

#include <unistd.h>

#include <cstdio>

#include "guest/kernel.h"

namespace tare::guest {
namespace {

std::uint64_t cpu_nanoseconds() noexcept {
  unsigned long long user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
  std::sscanf(read_text("/proc/stat"), "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq, &softirq);
  const auto per_second = static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  return (user + nice + system + irq + softirq) * (1'000'000'000 / per_second);
}

}  // namespace

std::uint64_t oom_kills() noexcept { return number_after(read_text("/proc/vmstat"), "oom_kill "); }

GuestUsage read_usage(std::uint64_t request) noexcept {
  GuestUsage usage;
  usage.id = request;
  usage.cpu_nanoseconds = cpu_nanoseconds();
  const char* memory = read_text("/proc/meminfo");
  usage.memory_used = (number_after(memory, "MemTotal:") - number_after(memory, "MemAvailable:")) * 1024;
  usage.oom_kills = oom_kills();
  return usage;
}

}  // namespace tare::guest
