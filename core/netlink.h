// SPDX-License-Identifier: Apache-2.0
// Network links of instances: a point-to-point link between the host and one instance, with an address at each end.
// The only user of libnl. Any thread; needs CAP_NET_ADMIN.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/fd.h"

namespace tare::netlink {

/// A /30 of 10.213.0.0/16 that no interface of this host uses: 16,384 links.
struct Subnet {
  std::string host;      // "10.213.7.1": the host's end
  std::string instance;  // "10.213.7.2": the instance's end
  int prefix = 30;
};

/// A name such as "tare4f9c2a71b" for the interface of an instance: 15 characters at most, made from its id.
std::string interface_name(const std::string& instance_id, char side);

/// Claims a free subnet and gives its host end to the existing interface `name`, which is set up. A lock in `lock_file`
/// keeps two agents from claiming the same one. The claim ends with the interface.
Subnet claim_subnet(const std::string& name, const std::string& lock_file);

/// Makes a veth pair: `host_name` here, `instance_name` in the network namespace `netns_fd`.
void create_veth(const std::string& host_name, const std::string& instance_name, int netns_fd);
/// In the calling thread's network namespace: sets loopback up.
void set_loopback_up();
/// In the network namespace `netns_fd`: gives `name` the instance's address, sets it and loopback up, default route to the host's end.
void configure_instance_end(const std::string& name, const Subnet& subnet, int netns_fd);
/// Bytes {received, transmitted} by the host's end, from /sys/class/net/<name>/statistics.
struct Counters {
  std::uint64_t received = 0;
  std::uint64_t transmitted = 0;
};
Counters counters(const std::string& name);

}  // namespace tare::netlink
