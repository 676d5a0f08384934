// SPDX-License-Identifier: Apache-2.0
// What the root file system of a native process is made of, as values: which kernel views, device nodes and mounts lie in it, and in
// which order. Pure; the child performs it (mounts.cc), the agent opens what comes from the host (mount_sources.h). Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "container/isolation.h"

namespace tare::container {

/// One mount. Either a new file system (`type`), or a tree of the host. `tree` ones come along as descriptors in the plan's order, views
/// first, mounted nowhere and with their flags set: those of the host, and a /dev that the child may not fill itself. The others are made
/// or bound by the child.
struct MountStep {
  std::string type;         // "proc"; empty: a tree of the host
  std::string source;       // the mount table's name for a new file system; else the path on the host
  std::string target;       // absolute, in the instance
  std::uint64_t flags = 0;  // MS_* of mount(2)
  std::string options;      // of the file system: "mode=755,size=65536k"
  bool tree = false;
  bool operator==(const MountStep&) const = default;
};

/// A device node to be made below /dev.
struct DeviceNode {
  std::string path;        // "/dev/null"
  std::uint32_t mode = 0;  // type and permissions
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  bool operator==(const DeviceNode&) const = default;
};

struct MountPlan {
  std::vector<MountStep> views;  // /proc, /sys, /dev and below: their places in the image must be directories, not links
  std::vector<DeviceNode> devices;
  bool device_links = false;      // /dev/ptmx, fd, stdin, stdout, stderr
  std::vector<MountStep> mounts;  // asked for by the workload, parents first; links of the image are followed inside the root
  bool read_only_root = false;
  bool operator==(const MountPlan&) const = default;
};

/// `devices` are the workload's, as the host has them (mount_sources.h); `volumes` is the absolute directory of named volumes.
MountPlan mount_plan(const Isolation& isolation, const Workload& workload, const std::vector<DeviceNode>& devices,
                     const std::string& volumes);

}  // namespace tare::container
