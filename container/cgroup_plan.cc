// SPDX-License-Identifier: Apache-2.0
#include "container/cgroup_plan.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "core/files.h"

namespace tare::container {
namespace {

constexpr std::array kV1Controllers = {"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "pids"};
constexpr std::array kV2Controllers = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"};
constexpr std::array kV1Accounting = {"blkio", "cpuacct", "freezer", "memory", "pids"};
constexpr std::array kV2Accounting = {"cpu", "io", "memory", "pids"};
constexpr std::array kIoWeightFiles = {"io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"};

bool has_word(const std::string& list, std::string_view word) {
  std::istringstream words(list);
  for (std::string entry; std::getline(words, entry, ',');) {
    if (entry == word) return true;
  }
  return false;
}

std::string line_of(const std::filesystem::path& file) {
  std::string text = try_read_file(file).value_or("");
  return text.substr(0, text.find('\n'));
}

void read_cpuset(CgroupLayout& layout) {
  if (const auto v1 = layout.v1.find("cpuset"); v1 != layout.v1.end()) {
    layout.cpus = line_of(v1->second / "cpuset.cpus");
    layout.memory_nodes = line_of(v1->second / "cpuset.mems");
  } else if (layout.v2.contains("cpuset")) {
    layout.cpus = line_of(layout.unified / "cpuset.cpus.effective");
    layout.memory_nodes = line_of(layout.unified / "cpuset.mems.effective");
  }
}

}  // namespace

std::string CgroupLayout::text() const {
  std::string text = is_v2() ? "v2:" : is_hybrid() ? "hybrid:" : "v1:";
  for (const auto& [controller, mount] : v1) text += " " + controller;
  if (is_hybrid() && !v2.empty()) text += ", v2";
  for (const std::string& controller : v2) text += " " + controller;
  return text;
}

std::set<std::filesystem::path> CgroupLayout::v1_mounts() const {
  std::set<std::filesystem::path> mounts;
  for (const auto& [controller, mount] : v1) mounts.insert(mount);
  return mounts;
}

std::set<std::string> CgroupLayout::accounting() const {
  std::set<std::string> controllers;
  for (const char* controller : kV1Accounting) {
    if (v1.contains(controller)) controllers.insert(controller);
  }
  for (const char* controller : kV2Accounting) {
    if (is_v2() && v2.contains(controller)) controllers.insert(controller);
  }
  return controllers;
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
  read_cpuset(layout);
  return layout;
}

std::vector<std::string> io_weight_files(const std::filesystem::path& directory) {
  std::vector<std::string> files;
  for (const char* file : kIoWeightFiles) {
    if (std::filesystem::exists(directory / file)) files.emplace_back(file);
  }
  return files;
}

}  // namespace tare::container
