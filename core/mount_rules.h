// SPDX-License-Identifier: Apache-2.0
// What a workload's mounts and devices may be, for every backend and before anything is made. Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/workload.h"

namespace tare {

/// Most mounts of one workload.
constexpr std::size_t kMostMounts = 64;

/// What is wrong with it, as a sentence without its object ("the target '/x/../y' has a '..'"); empty when nothing is.
std::string fault_of(const Mount& mount);
/// The same of the path of a device node on the host.
std::string fault_of_device(const std::string& path);
/// The order in which mounts are made: a parent first, or it would hide its child.
bool is_mounted_before(std::string_view target, std::string_view other);
/// Throws Error(invalid) "workload 'x': …" for the first fault, for two mounts with one target and for a device that stands there twice.
void check_mounts(const Workload& workload);

std::string_view name(Mount::Type type) noexcept;  // "bind", "volume", "tmpfs"

}  // namespace tare
