// SPDX-License-Identifier: Apache-2.0
#include "container/cgroup_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

constexpr std::array kV1Controllers = {"blkio", "cpu", "cpuacct", "freezer", "memory", "pids"};
constexpr std::array kV2Controllers = {"cpu", "io", "memory", "pids"};
constexpr std::int64_t kPeriod = 100'000;    // µs, as Docker's
constexpr std::int64_t kLeastQuota = 1'000;  // µs: the kernel takes no less

std::string need(const CgroupLayout& layout, const std::string& controller, const char* limit) {
  if (layout.has(controller)) return controller;
  throw Error(Code::unsuited,
              std::string("the ") + limit + " limit needs the cgroup controller '" + controller + "', which this host lacks",
              "boot with cgroup_enable=" + controller + ", or leave the limit out");
}

bool has_word(const std::string& list, std::string_view word) {
  std::istringstream words(list);
  for (std::string entry; std::getline(words, entry, ',');) {
    if (entry == word) return true;
  }
  return false;
}

void write_cpu(double cpus, const CgroupLayout& layout, std::vector<CgroupWrite>& writes) {
  const std::string cpu = need(layout, "cpu", "cpus");
  const auto quota = static_cast<std::int64_t>(std::llround(cpus * static_cast<double>(kPeriod)));
  if (quota < kLeastQuota) throw Error(Code::invalid, "limit of " + std::to_string(cpus) + " CPUs is too small", "give at least 0.01");
  if (layout.is_v2()) {
    writes.push_back({cpu, "cpu.max", std::to_string(quota) + " " + std::to_string(kPeriod)});
  } else {
    writes.push_back({cpu, "cpu.cfs_period_us", std::to_string(kPeriod)});
    writes.push_back({cpu, "cpu.cfs_quota_us", std::to_string(quota)});
  }
}

// No swap beside the limit: a workload that swaps would be measured as slow, not as too big, and a guest has none either.
void write_memory(Bytes limit, const CgroupLayout& layout, std::vector<CgroupWrite>& writes) {
  const std::string memory = need(layout, "memory", "memory");
  const std::string value = std::to_string(limit.count);
  if (layout.is_v2()) {
    writes.push_back({memory, "memory.max", value});
    writes.push_back({memory, "memory.swap.max", "0"});
    return;
  }
  writes.push_back({memory, "memory.limit_in_bytes", value});
  if (layout.swap) writes.push_back({memory, "memory.memsw.limit_in_bytes", value});  // never below the first, so it comes second
}

}  // namespace

std::string CgroupLayout::text() const {
  std::string text = is_v2() ? "v2:" : is_hybrid() ? "hybrid:" : "v1:";
  if (is_v2()) {
    for (const std::string& controller : v2) text += " " + controller;
  } else {
    for (const auto& [controller, mount] : v1) text += " " + controller;
  }
  return text;
}

std::set<std::filesystem::path> CgroupLayout::v1_mounts() const {
  std::set<std::filesystem::path> mounts;
  for (const auto& [controller, mount] : v1) mounts.insert(mount);
  return mounts;
}

CgroupLayout cgroup_layout(std::string_view mounts) {
  CgroupLayout layout;
  std::istringstream lines{std::string(mounts)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string source, target, type, options;
    fields >> source >> target >> type >> options;
    if (type == "cgroup2" && layout.unified.empty()) layout.unified = target;
    if (type != "cgroup") continue;
    for (const char* controller : kV1Controllers) {
      if (has_word(options, controller)) layout.v1.emplace(controller, target);
    }
  }
  if (!layout.unified.empty()) {
    std::istringstream words(try_read_file(layout.unified / "cgroup.controllers").value_or(""));
    for (std::string word; words >> word;) {
      if (std::find(kV2Controllers.begin(), kV2Controllers.end(), word) != kV2Controllers.end()) layout.v2.insert(word);
    }
  }
  if (const auto memory = layout.v1.find("memory"); memory != layout.v1.end()) {
    layout.swap = std::filesystem::exists(memory->second / "memory.memsw.limit_in_bytes");
  }
  return layout;
}

std::vector<CgroupWrite> cgroup_writes(const Limits& limits, const CgroupLayout& layout) {
  std::vector<CgroupWrite> writes;
  if (limits.cpus) write_cpu(*limits.cpus, layout, writes);
  if (limits.memory) write_memory(*limits.memory, layout, writes);
  if (limits.pids) {
    if (*limits.pids < 1)
      throw Error(Code::invalid, "limit of " + std::to_string(*limits.pids) + " processes is too small", "give at least 1");
    writes.push_back({need(layout, "pids", "pids"), "pids.max", std::to_string(*limits.pids)});
  }
  return writes;
}

}  // namespace tare::container
