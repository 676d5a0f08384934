// SPDX-License-Identifier: Apache-2.0
#include "container/mount_plan.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>

#include "core/mount_rules.h"

namespace tare::container {
namespace {

constexpr std::uint64_t kPlain = MS_NOSUID | MS_NOEXEC | MS_NODEV;
constexpr std::uint64_t kTree = MS_BIND | MS_REC;

MountStep view(const char* type, const char* source, const char* target, std::uint64_t flags, const char* options = "") {
  return {type, source, target, flags, options, false};
}

DeviceNode node(const char* path, std::uint32_t major, std::uint32_t minor) { return {path, S_IFCHR | 0666, major, minor, 0, 0}; }

/// As Docker and runc make them.
void add_own_views(MountPlan& plan) {
  plan.views = {view("proc", "proc", "/proc", kPlain),
                view("sysfs", "sysfs", "/sys", kPlain | MS_RDONLY),
                view("tmpfs", "tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"),
                view("devpts", "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
                view("tmpfs", "shm", "/dev/shm", kPlain, "mode=1777,size=65536k"),
                view("mqueue", "mqueue", "/dev/mqueue", kPlain)};
  plan.devices = {node("/dev/null", 1, 3),   node("/dev/zero", 1, 5),    node("/dev/full", 1, 7),
                  node("/dev/random", 1, 8), node("/dev/urandom", 1, 9), node("/dev/tty", 5, 0)};
  plan.device_links = true;
}

void add_devices(MountPlan& plan, const std::vector<DeviceNode>& devices) {
  for (const DeviceNode& device : devices) {
    const bool there = std::any_of(plan.devices.begin(), plan.devices.end(), [&](const DeviceNode& d) { return d.path == device.path; });
    if (!there) plan.devices.push_back(device);
  }
}

/// nodev everywhere: who may use a device of the host is said in the workload's device list and nowhere else.
MountStep step_of(const Mount& mount, const std::string& volumes) {
  const std::uint64_t read_only = mount.read_only ? MS_RDONLY : 0;
  switch (mount.type) {
    case Mount::Type::bind: return {"", mount.source, mount.target, kTree | MS_NODEV | read_only, "", true};
    case Mount::Type::volume: return {"", volumes + "/" + mount.source, mount.target, kTree | MS_NODEV | MS_NOSUID | read_only, "", true};
    case Mount::Type::tmpfs: break;
  }
  std::string options = "mode=1777";
  if (mount.size) options += ",size=" + std::to_string(mount.size->count);
  return {"tmpfs", "tmpfs", mount.target, kPlain | read_only, options, false};
}

}  // namespace

MountPlan mount_plan(const Isolation& isolation, const Workload& workload, const std::vector<DeviceNode>& devices,
                     const std::string& volumes) {
  MountPlan plan;
  if (isolation.own_kernel_views) {
    add_own_views(plan);
    // Who is root of a user namespace alone makes no device nodes, and opens none that lie in a file system of its own.
    for (MountStep& step : plan.views) step.tree = isolation.has_own_ids() && step.target == "/dev";
  } else {
    for (const char* path : {"/proc", "/sys", "/dev"}) plan.views.push_back({"", path, path, kTree, "", true});
  }
  // A host's /dev, as metal has it, holds them already.
  if (isolation.own_kernel_views) add_devices(plan, devices);
  for (const Mount& mount : workload.mounts) {
    std::erase_if(plan.views, [&](const MountStep& step) { return step.target == mount.target; });
    plan.mounts.push_back(step_of(mount, volumes));
  }
  std::stable_sort(plan.mounts.begin(), plan.mounts.end(),
                   [](const MountStep& a, const MountStep& b) { return is_mounted_before(a.target, b.target); });
  plan.read_only_root = workload.read_only_root;
  return plan;
}

}  // namespace tare::container
