// SPDX-License-Identifier: Apache-2.0
// The resource limits of a process by the names that docker --ulimit gives them. Values only.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace tare {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();  // RLIM_INFINITY

/// setrlimit(2): sizes in bytes, times in seconds (rttime: microseconds).
struct Ulimit {
  std::string name;  // of kUlimitNames
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
  bool operator==(const Ulimit&) const = default;
};

struct UlimitName {
  std::string_view name;
  int resource;  // RLIMIT_…
};
constexpr UlimitName kUlimitNames[] = {
    {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

/// One of them as the kernel takes it.
struct ResourceLimit {
  std::int32_t resource = 0;  // RLIMIT_…
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
  bool operator==(const ResourceLimit&) const = default;
};
/// What a workload has that asks for nothing else.
constexpr ResourceLimit kStandardLimits[] = {{RLIMIT_CORE, 0, 0}, {RLIMIT_NOFILE, 1024, 524288}};
/// `standard` with what is asked for on top.
std::vector<ResourceLimit> resource_limits(std::vector<ResourceLimit> standard, const std::vector<Ulimit>& asked);

}  // namespace tare
