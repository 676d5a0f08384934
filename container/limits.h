// SPDX-License-Identifier: Apache-2.0
// Limits as the kernel's files take them. Pure but for resolve_devices(): values in, values out. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "container/cgroup_plan.h"
#include "core/error.h"
#include "core/workload.h"

namespace tare::container {

struct CgroupWrite {
  std::string limit;  // the field of Limits, for sentences: "cpu_weight"
  std::string controller;
  std::string file;
  std::string value;  // several lines: a write(2) each
  bool operator==(const CgroupWrite&) const = default;
};

/// In the order in which the kernel takes them, for a new group. Devices are given by their numbers: resolve_devices().
/// Throws Error(unsuited) naming the controller, CPU, node or file that a limit needs and this host lacks, Error(invalid) for a limit that
/// no kernel takes.
std::vector<CgroupWrite> cgroup_writes(const Limits& limits, const CgroupLayout& layout);
/// For a group that has the limits `now` and gets `change`: what is given there, in the order that the direction of the change demands.
std::vector<CgroupWrite> cgroup_update_writes(const Limits& now, const Limits& change, const CgroupLayout& layout);
/// `now` with what `change` gives.
Limits merged(Limits now, const Limits& change);

/// What takes back `write` to a file that held `content` before it.
std::string undo_value(const CgroupWrite& write, const std::string& content);

/// The failure of one write: names the limit, the group and the value.
Error limit_refused(const std::string& group, const CgroupWrite& write, const Error& cause, const std::string& hint = {});

/// `limits` with "254:0" in place of "/dev/vda". Throws Error naming what is no block device, or a partition with its disk.
Limits resolve_devices(Limits limits, const std::filesystem::path& sys = "/sys");

}  // namespace tare::container
