// SPDX-License-Identifier: Apache-2.0
// How an agent is set up: configs/agent.yaml, typed and checked. After load_config() nothing sees YAML.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/paths.h"

namespace tare::agent {

struct VmConfig {
  std::string connection = "embed";      // "embed": libvirt's driver inside the agent; else a URI such as "qemu:///system"
  std::string machine = "microvm";       // or "q35"
  std::string profile = "default";       // core/workload.h's VmProfile, of workloads that name none
  std::string confinement = "hardened";  // or "fast": vm/plan.h's Confinement
  std::string cache = "writeback";       // of the disk that takes what a guest writes: vm/plan.h's Disk::cache
  std::string accelerator = "auto";      // "auto": KVM where the self-test passes, else TCG; or "kvm", "tcg"
};

struct Config {
  std::optional<std::uint16_t> tcp_port;  // absent: the unix socket alone
  std::string tcp_address = "127.0.0.1";  // of this host, IPv4 or IPv6; "0.0.0.0" and "::" are all of them
  int event_streams = 8;                  // more at the same time are answered with 503
  int parked = 8;                         // what waits for each shape of workload that is not started cold
  std::string log_level = "info";         // "info", "warn", "error"
  VmConfig vm;
  std::string bridge_range;  // of tare0, "10.214.0.0/16"; empty: that one, or the next /16 that is free

  // Not in the file: given by the program that starts the agent.
  Paths paths;
  bool is_private = false;  // lives for one verb: no TCP, ends with the lease, speaks only when something is wrong
};

/// Throws Error(invalid) "agent.yaml:3: unknown key 'tcp_prot' (did you mean 'tcp_port'?)". `file_name` is only for messages.
Config load_config(const std::string& text, std::string_view file_name);

/// The file named, else /etc/tare/agent.yaml when it exists, else the defaults.
Config find_config(const std::optional<std::filesystem::path>& path);

}  // namespace tare::agent
