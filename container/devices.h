// SPDX-License-Identifier: Apache-2.0
// Which device files a control group's tasks may use: the v1 controller `devices`, or a program of our own in the v2 tree. Any thread.
#pragma once

#include <linux/bpf.h>

#include <string>
#include <vector>

#include "container/limits.h"
#include "container/mount_plan.h"
#include "core/control_group.h"
#include "core/fd.h"

namespace tare::container {

/// What Docker and runc allow: null, zero, full, random, urandom, tty, console, ptmx, pts; mknod of anything, which then cannot be opened.
const DeviceList& default_devices();
/// These, and what the workload is given by name.
DeviceList devices_with(const std::vector<DeviceNode>& given);

/// For the v1 controller.
std::vector<CgroupWrite> device_writes(const DeviceList& devices);
/// For BPF_PROG_TYPE_CGROUP_DEVICE: returns 1 where a rule allows, else 0, which the kernel makes EPERM.
std::vector<bpf_insn> device_program(const DeviceList& devices);

/// Loads it; it lives as long as a descriptor or a group holds it. Throws Error when this kernel or its settings do not allow that.
Fd load_device_program(const std::vector<bpf_insn>& instructions);
/// Puts it on the group with that directory, where it stays until the group is removed.
void attach_device_program(int program, int group_directory);
/// The first device program of a host switches the check on in the whole kernel, and the last switches it off, which takes ~60 µs. A link
/// with a program that allows everything keeps it on: no start pays for it. Ends with its descriptor; absent where the kernel has no links.
Fd hold_device_check(int group_directory);

}  // namespace tare::container
