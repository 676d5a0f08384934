// SPDX-License-Identifier: Apache-2.0
#include "container/mount_plan.h"

#include <sys/mount.h>
#include <sys/stat.h>

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

}  // namespace

MountPlan mount_plan(const Isolation& isolation) {
  MountPlan plan;
  if (isolation.own_kernel_views) {
    add_own_views(plan);
  } else {
    for (const char* path : {"/proc", "/sys", "/dev"}) plan.views.push_back(view("", path, path, kTree));
  }
  return plan;
}

}  // namespace tare::container
