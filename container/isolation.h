// SPDX-License-Identifier: Apache-2.0
// What separates a native workload from the host, as a value. `metal` and `container` are started by the same launcher, with the same
// control group, root file system, log and probe; the control differs from the container in exactly this one value: metal gets
// Isolation::none(), a container Isolation::container(). A plain value of the plan; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/workload.h"

namespace tare::container {

struct Isolation {
  bool pid = false;  // namespaces; the mount namespace, which holds the root file system, is always there
  bool ipc = false;
  bool uts = false;
  bool net = false;
  bool cgroup = false;
  std::uint32_t first_id = 0;      // the host's id of its user 0, with 65535 more: a user namespace. 0: its users are the host's
  bool time = false;               // clocks at the host's reading; the workload may not set them apart
  bool own_kernel_views = false;   // its own /proc, /sys (read-only) and /dev; else the host's are bound in
  std::uint64_t capabilities = 0;  // bit n is capability n; bounding, permitted and effective set of the workload
  bool no_new_privileges = false;
  std::string seccomp;                 // name of the profile of allowed system calls; empty: no filter
  bool own_keyring = false;            // a session keyring of its own instead of the launcher's
  std::vector<std::string> masked;     // paths hidden behind /dev/null or an empty read-only directory; missing ones are skipped
  std::vector<std::string> read_only;  // paths bound onto themselves read-only
  bool device_list = false;            // its control group allows default_devices() alone; else every device that has a node
  bool operator==(const Isolation&) const = default;

  /// Nothing but the private mount namespace: no other namespace, every capability, the host's /proc, /sys and /dev.
  static Isolation none();
  /// All namespaces that this kernel has; Security::standard adds Docker's 14 capabilities, no_new_privs, the seccomp filter, a session
  /// keyring, masked and read-only paths, the device list. Security::strict is the same with podman's 11 capabilities.
  static Isolation container(Security security);

  /// Gives up namespaces: they are the host's.
  void share(const std::vector<Namespace>& spaces);

  bool has_own_ids() const { return first_id != 0; }
  /// "mount", "mount,pid,ipc,uts,net,cgroup,time", "mount,…,time,user".
  std::string namespaces() const;
  /// For Instance::protections(): what is in force, and what is not ("lsm": "none").
  std::map<std::string, std::string> protections() const;
};

}  // namespace tare::container
