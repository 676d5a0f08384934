// SPDX-License-Identifier: Apache-2.0
#include "container/isolation.h"

#include <linux/capability.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "container/capabilities.h"
#include "container/seccomp_profile.h"
#include "core/id_range.h"

namespace tare::container {
namespace {

constexpr auto bit = capability_bit;

/// What Docker and containerd give a container by default, so that the numbers compare with theirs.
constexpr std::uint64_t kDockerCapabilities = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FSETID) | bit(CAP_FOWNER) | bit(CAP_MKNOD) |
                                              bit(CAP_NET_RAW) | bit(CAP_SETGID) | bit(CAP_SETUID) | bit(CAP_SETFCAP) | bit(CAP_SETPCAP) |
                                              bit(CAP_NET_BIND_SERVICE) | bit(CAP_SYS_CHROOT) | bit(CAP_KILL) | bit(CAP_AUDIT_WRITE);

/// What podman leaves out of these: raw packets, device nodes and the audit log.
constexpr std::uint64_t kNotInPodman = bit(CAP_MKNOD) | bit(CAP_NET_RAW) | bit(CAP_AUDIT_WRITE);

}  // namespace

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
  static const bool has_time = ::access("/proc/self/ns/time", F_OK) == 0;  // CONFIG_TIME_NS
  isolation.time = has_time;
  isolation.own_kernel_views = true;
  isolation.capabilities = all_capabilities();
  if (security == Security::none) return isolation;
  isolation.capabilities = security == Security::strict ? kDockerCapabilities & ~kNotInPodman : kDockerCapabilities;
  isolation.no_new_privileges = true;
  isolation.seccomp = "standard";
  isolation.own_keyring = true;
  isolation.device_list = true;
  isolation.masked = {"/proc/acpi",       "/proc/asound",        "/proc/interrupts",  "/proc/kcore",
                      "/proc/keys",       "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
                      "/proc/timer_list", "/proc/timer_stats",   "/sys/firmware",     "/sys/devices/virtual/powercap"};
  isolation.masked.insert(isolation.masked.end(), thermal_paths().begin(), thermal_paths().end());
  isolation.read_only = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  return isolation;
}

void Isolation::share(const std::vector<Namespace>& spaces) {
  for (const Namespace space : spaces) {
    switch (space) {
      case Namespace::pid: pid = false; break;
      case Namespace::ipc: ipc = false; break;
      case Namespace::uts: uts = false; break;
      case Namespace::net: net = false; break;
      case Namespace::cgroup: cgroup = false; break;
      case Namespace::time: time = false; break;
    }
  }
}

std::string Isolation::namespaces() const {
  std::string text = "mount";
  if (pid) text += ",pid";
  if (ipc) text += ",ipc";
  if (uts) text += ",uts";
  if (net) text += ",net";
  if (cgroup) text += ",cgroup";
  if (time) text += ",time";
  if (has_own_ids()) text += ",user";
  return text;
}

std::map<std::string, std::string> Isolation::protections() const {
  return {{"namespaces", namespaces()},
          {"capabilities", text_of_capabilities(capabilities)},
          {"no_new_privs", no_new_privileges ? "1" : "0"},
          {"seccomp", seccomp.empty() ? "none" : seccomp + " " + seccomp_profile(seccomp).digest},
          {"seccomp_flags", seccomp.empty() ? "none" : "spec_allow"},
          {"keyring", own_keyring ? "own" : "host"},
          {"lsm", "none"},
          {"masked_paths", std::to_string(masked.size())},
          {"read_only_paths", std::to_string(read_only.size())},
          {"devices", device_list ? "default list" : "all"},
          {"sys", own_kernel_views ? "read-only" : "host"},
          {"user", "root"},
          {"user_namespace", has_own_ids() ? "0 → " + std::to_string(first_id) + " (" + std::to_string(kIdsEach) + ")" : "host"}};
}

}  // namespace tare::container
