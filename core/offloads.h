// SPDX-License-Identifier: Apache-2.0
// What an interface of this host leaves to its peer or puts off: checksums, segmentation. A container's veth and a VM's tap on one bridge
// have the same, or their numbers do not compare. Any thread.
#pragma once

#include <string>

namespace tare {

struct Offloads {
  unsigned mtu = 0;
  bool transmit_checksum = false;
  bool scatter_gather = false;
  bool tcp_segmentation = false;      // TSO
  bool generic_segmentation = false;  // GSO
  bool generic_receive = false;       // GRO
  bool operator==(const Offloads&) const = default;
};

/// As they are now: a tap's follow what the guest's driver asks for. Throws Error naming the interface.
Offloads offloads_of(const std::string& interface);
/// "tx-checksum,scatter-gather,tso,gso"; "none".
std::string text_of(const Offloads& offloads);
void set_generic_receive(const std::string& interface, bool on);

}  // namespace tare
