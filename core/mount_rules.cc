// SPDX-License-Identifier: Apache-2.0
#include "core/mount_rules.h"

#include <algorithm>
#include <climits>
#include <initializer_list>
#include <string_view>

#include "core/error.h"

namespace tare {
namespace {

bool is_at_or_below(std::string_view path, std::string_view parent) {
  return path.starts_with(parent) && (path.size() == parent.size() || path[parent.size()] == '/');
}

/// One way to write each path, so that two that are equal look equal.
std::string fault_of_path(std::string_view what, const std::string& path) {
  const std::string named = "the " + std::string(what) + " '" + path + "' ";
  if (path.empty()) return "it has no " + std::string(what);
  if (path[0] != '/') return named + "is not absolute";
  if (path.size() >= PATH_MAX) return "the " + std::string(what) + " is longer than a path can be";
  if (path.find('\0') != std::string::npos) return "the " + std::string(what) + " holds a zero byte";
  for (std::size_t at = 1; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = std::string_view(path).substr(at, end - at);
    if (part == "..") return named + "has a '..'";
    if (part.empty() || part == ".") return named + "has an empty part or a '.'";
    at = end + 1;
  }
  if (path.size() > 1 && path.back() == '/') return named + "ends with '/'";
  return {};
}

bool is_volume_name(const std::string& name) {
  constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::string_view kRest = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
  return !name.empty() && name.size() <= 63 && kFirst.find(name[0]) != std::string_view::npos &&
         name.find_first_not_of(kRest) == std::string::npos;
}

std::string fault_of_target(const std::string& target) {
  if (std::string fault = fault_of_path("target", target); !fault.empty()) return fault;
  if (target == "/" || target == "/dev") return "the target '" + target + "' is not the workload's to choose";
  // What is mounted there decides what the workload is told about itself.
  for (const char* view : {"/proc", "/sys", "/dev/pts", "/dev/mqueue"}) {
    if (is_at_or_below(target, view)) return "the target '" + target + "' lies in " + view;
  }
  return {};
}

}  // namespace

std::string_view name(Mount::Type type) noexcept {
  return type == Mount::Type::bind ? "bind" : type == Mount::Type::volume ? "volume" : "tmpfs";
}

std::string fault_of(const Mount& mount) {
  if (std::string fault = fault_of_target(mount.target); !fault.empty()) return fault;
  if (mount.size && mount.type != Mount::Type::tmpfs) return "only a tmpfs has a size";
  if (mount.size && *mount.size < 4_KiB) return "a tmpfs of " + text_of(*mount.size) + " holds nothing";
  switch (mount.type) {
    case Mount::Type::bind: return fault_of_path("source", mount.source);
    case Mount::Type::volume:
      if (is_volume_name(mount.source)) return {};
      return "'" + mount.source + "' is no name of a volume; use a-z, 0-9, '_', '.' and '-', a letter or digit first, at most 63 in all";
    case Mount::Type::tmpfs: return mount.source.empty() ? "" : "a tmpfs has no source";
  }
  return {};
}

std::string fault_of_device(const std::string& path) {
  if (std::string fault = fault_of_path("device", path); !fault.empty()) return fault;
  if (!path.starts_with("/dev/")) return "the device '" + path + "' does not lie in /dev";
  for (const char* view : {"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/ptmx", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr"}) {
    if (is_at_or_below(path, view)) return "the device '" + path + "' is the instance's own";
  }
  return {};
}

bool is_mounted_before(std::string_view target, std::string_view other) {
  return std::count(target.begin(), target.end(), '/') < std::count(other.begin(), other.end(), '/');
}

void check_mounts(const Workload& workload) {
  const auto require = [&](const std::string& fault) {
    if (!fault.empty()) throw Error(Code::invalid, "workload '" + workload.name + "': " + fault);
  };
  if (workload.mounts.size() > kMostMounts) require("it has more than " + std::to_string(kMostMounts) + " mounts");
  for (auto mount = workload.mounts.begin(); mount != workload.mounts.end(); ++mount) {
    require(fault_of(*mount));
    const bool twice = std::any_of(workload.mounts.begin(), mount, [&](const Mount& other) { return other.target == mount->target; });
    if (twice) require("two mounts have the target '" + mount->target + "'");
  }
  for (auto device = workload.devices.begin(); device != workload.devices.end(); ++device) {
    require(fault_of_device(*device));
    if (std::find(workload.devices.begin(), device, *device) != device) require("the device '" + *device + "' stands there twice");
  }
}

}  // namespace tare
