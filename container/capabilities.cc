// SPDX-License-Identifier: Apache-2.0
#include "container/capabilities.h"

#include <linux/capability.h>

#include <algorithm>
#include <iterator>

#include "core/files.h"

namespace tare::container {
namespace {

// In the order of their numbers (linux/capability.h).
constexpr const char* kNames[] = {"chown",
                                  "dac_override",
                                  "dac_read_search",
                                  "fowner",
                                  "fsetid",
                                  "kill",
                                  "setgid",
                                  "setuid",
                                  "setpcap",
                                  "linux_immutable",
                                  "net_bind_service",
                                  "net_broadcast",
                                  "net_admin",
                                  "net_raw",
                                  "ipc_lock",
                                  "ipc_owner",
                                  "sys_module",
                                  "sys_rawio",
                                  "sys_chroot",
                                  "sys_ptrace",
                                  "sys_pacct",
                                  "sys_admin",
                                  "sys_boot",
                                  "sys_nice",
                                  "sys_resource",
                                  "sys_time",
                                  "sys_tty_config",
                                  "mknod",
                                  "lease",
                                  "audit_write",
                                  "audit_control",
                                  "setfcap",
                                  "mac_override",
                                  "mac_admin",
                                  "syslog",
                                  "wake_alarm",
                                  "block_suspend",
                                  "audit_read",
                                  "perfmon",
                                  "bpf",
                                  "checkpoint_restore"};

}  // namespace

std::uint64_t all_capabilities() {
  const auto last = try_read_number("/proc/sys/kernel/cap_last_cap").value_or(CAP_LAST_CAP);
  return last >= 63 ? ~std::uint64_t{0} : (std::uint64_t{1} << (last + 1)) - 1;
}

std::string text_of_capabilities(std::uint64_t set) {
  if (set == 0) return "none";
  if (set == all_capabilities()) return "all";
  std::string text;
  for (int i = 0; i < 64; ++i) {
    if ((set & capability_bit(i)) == 0) continue;
    if (!text.empty()) text += ',';
    text += static_cast<std::size_t>(i) < std::size(kNames) ? kNames[i] : "cap_" + std::to_string(i);
  }
  return text;
}

std::optional<int> capability_named(std::string_view name) {
  const auto found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<int>(found - std::begin(kNames));
}

}  // namespace tare::container
