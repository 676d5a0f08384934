// SPDX-License-Identifier: Apache-2.0
// What a confined QEMU has of the host: a root of its own with /usr, the files of its machine and a handful of devices, all of it read-only
// but for its disk; no network, no capability, and a user id that no other instance has. Whoever breaks out of a guest into QEMU finds
// nothing there. libvirt has a mount namespace too, which costs as much as QEMU's own start; tare-emulator makes this one on its way to
// QEMU in a millisecond.
//
// Two ends of one text: the agent writes it into the emulator's environment (jail_text), tare-emulator reads it (enter_jail).
#pragma once

#include <string>

#include "vm/plan.h"

namespace tare::vm {

/// Name of the variable.
constexpr const char* kJail = "TARE_JAIL";

/// "<user id>:<stage>:<kind><path>:…", the kinds r (read), w (read and write) and d (device). Throws Error(unsuited) for a path with a ':'.
std::string jail_text(const VmPlan& plan);

}  // namespace tare::vm
