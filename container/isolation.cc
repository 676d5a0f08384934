// SPDX-License-Identifier: Apache-2.0
#include "container/isolation.h"

#include <linux/capability.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "core/files.h"

namespace tare::container {
namespace {

constexpr const char* kCapabilityNames[] = {"chown",
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

constexpr std::uint64_t bit(int capability) { return std::uint64_t{1} << capability; }

/// What Docker and containerd give a container by default, so that the numbers compare with theirs.
constexpr std::uint64_t kDockerCapabilities = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FSETID) | bit(CAP_FOWNER) | bit(CAP_MKNOD) |
                                              bit(CAP_NET_RAW) | bit(CAP_SETGID) | bit(CAP_SETUID) | bit(CAP_SETFCAP) | bit(CAP_SETPCAP) |
                                              bit(CAP_NET_BIND_SERVICE) | bit(CAP_SYS_CHROOT) | bit(CAP_KILL) | bit(CAP_AUDIT_WRITE);

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
    if ((set & bit(i)) == 0) continue;
    if (!text.empty()) text += ',';
    text += static_cast<std::size_t>(i) < std::size(kCapabilityNames) ? kCapabilityNames[i] : "cap_" + std::to_string(i);
  }
  return text;
}

/// One a core where the processor has it: how often it was throttled tells what the neighbours do (GHSA-6fw5). Looked for once: the
/// cores of this host do not change.
const std::vector<std::string>& thermal_paths() {
  static const std::vector<std::string> paths = [] {
    std::vector<std::string> found;
    std::error_code missing;
    for (std::filesystem::directory_iterator entry("/sys/devices/system/cpu", missing), end; !missing && entry != end;
         entry.increment(missing)) {
      const std::filesystem::path path = entry->path() / "thermal_throttle";
      if (::access(path.c_str(), F_OK) == 0) found.push_back(path);
    }
    return found;
  }();
  return paths;
}

Isolation Isolation::none() {
  Isolation none;
  none.capabilities = all_capabilities();
  return none;
}

Isolation Isolation::container(Security security) {
  Isolation isolation;
  isolation.pid = isolation.ipc = isolation.uts = isolation.net = isolation.cgroup = true;
  isolation.own_kernel_views = true;
  isolation.capabilities = all_capabilities();
  if (security == Security::none) return isolation;
  isolation.capabilities = kDockerCapabilities;
  isolation.no_new_privileges = true;
  isolation.masked = {"/proc/acpi",       "/proc/asound",        "/proc/interrupts",  "/proc/kcore",
                      "/proc/keys",       "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
                      "/proc/timer_list", "/proc/timer_stats",   "/sys/firmware",     "/sys/devices/virtual/powercap"};
  isolation.masked.insert(isolation.masked.end(), thermal_paths().begin(), thermal_paths().end());
  isolation.read_only = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  return isolation;
}

std::string Isolation::namespaces() const {
  std::string text = "mount";
  if (pid) text += ",pid";
  if (ipc) text += ",ipc";
  if (uts) text += ",uts";
  if (net) text += ",net";
  if (cgroup) text += ",cgroup";
  return text;
}

std::map<std::string, std::string> Isolation::protections() const {
  return {{"namespaces", namespaces()},
          {"capabilities", text_of_capabilities(capabilities)},
          {"no_new_privs", no_new_privileges ? "1" : "0"},
          {"seccomp", "none"},
          {"lsm", "none"},
          {"masked_paths", std::to_string(masked.size())},
          {"read_only_paths", std::to_string(read_only.size())},
          {"sys", own_kernel_views ? "read-only" : "host"},
          {"user", "root"}};
}

}  // namespace tare::container
