// SPDX-License-Identifier: Apache-2.0
// Private to core/: the requests to the kernel that make the bridge and its members. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/bridge.h"
#include "core/bridge_plan.h"
#include "core/rtnl.h"

namespace tare::bridge {

using rtnl::Message;
using Messages = std::vector<Message>;

/// A bridge that is down, with its label.
Messages new_bridge(const BridgeAlias& alias);
/// A veth pair that is down: its outer end on the bridge with this index, with the member's label, its inner one, eth0, in `netns`.
Messages new_veth(const Place& place, int bridge, int netns);
/// What is there already joins, with the label.
Messages join(const Place& place, int bridge);
Message set_up(int index, const std::string& name);
Message set_down(int index, const std::string& name);

Message new_address(int index, std::uint32_t address, const ipv4::Range& range);
Message new_default_route(int index, std::uint32_t gateway);
/// A permanent neighbour entry, so that the first packet waits for no ARP.
Message new_neighbour(int index, std::uint32_t address, const std::string& mac);
Message remove_neighbour(int index, std::uint32_t address);
/// The bridge need not learn where `mac` is by sending its first frame to every member.
Message forwarding_entry(int port, const std::string& mac);
/// Frames may leave by the port they came from: with bridge-nf-call-iptables the kernel bridges, not routes, what an instance sends to its
/// own published port.
Message hairpin(int port);

template <class... More>
Messages all_of(More... more) {
  Messages messages;
  (messages.push_back(std::move(more)), ...);
  return messages;
}

}  // namespace tare::bridge
