// SPDX-License-Identifier: Apache-2.0
#include "guest/facts.h"

#include <sched.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <cstdio>
#include <cstring>

#include "guest/kernel.h"

namespace tare::guest {
namespace {

std::uint32_t cpus() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<std::uint32_t>(CPU_COUNT(&set)) : 0;
}

// A kernel without NUMA has no such directory, and one node.
std::uint32_t nodes() noexcept {
  std::uint32_t count = 0;
  char path[64];
  struct stat status {};
  do std::snprintf(path, sizeof path, "/sys/devices/system/node/node%u", count++);
  while (stat(path, &status) == 0);
  return count > 1 ? count - 1 : 1;
}

}  // namespace

Facts read_facts() noexcept {
  static char text[8192];
  Facts facts;
  facts.cpus = cpus();
  facts.nodes = nodes();
  facts.memory = number_after(read_text("/proc/meminfo"), "MemTotal:") * 1024;
  utsname name{};
  uname(&name);
  const char* flags = std::strstr(read_text("/proc/cpuinfo"), "flags\t");
  if (flags == nullptr) flags = "";
  std::snprintf(text, sizeof text, "%s\n%.*s\n", name.release, static_cast<int>(std::strcspn(flags, "\n")), flags);
  facts.text = text;
  return facts;
}

}  // namespace tare::guest
