// SPDX-License-Identifier: Apache-2.0
// What the bridge is to look like, as plain values and texts: addresses, names, aliases, rules of the packet filter. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ipv4.h"
#include "core/workload.h"

namespace tare::bridge {

/// The host's own address in the range: the instances' default route.
std::uint32_t gateway_of(const ipv4::Range& range);
/// "02:74:0a:d6:00:01" for 10.214.0.1: locally administered, so it meets no real one, and as unique as the address. ('t' is 0x74.)
std::string mac_of(std::uint32_t address);
bool is_our_mac(std::string_view mac);
/// The alternative name of the interface that has `address` in it: names are unique, so the kernel itself keeps an address from being
/// given twice, and a claim ends with its interface.
std::string claim_of(std::uint32_t address);
/// The first address of an instance from a start that `instance_id` decides that is not `taken`; nothing when all are.
std::optional<std::uint32_t> free_address(const ipv4::Range& range, const std::string& instance_id,
                                          const std::function<bool(std::uint32_t)>& taken);
/// The range asked for, or without one the first of 10.214.0.0/16 … 10.223.0.0/16 that is free. Nothing when it is not. A wider range of
/// the host (10.0.0.0/8 on eth0) is no obstacle: ours is the more specific route.
std::optional<ipv4::Range> choose_range(const std::optional<ipv4::Range>& wanted, const std::vector<ipv4::Range>& occupied);

/// What the kernel keeps for us in the bridge's alias: "tare:bridge;range=10.214.0.0/16;ip_forward=0".
struct BridgeAlias {
  ipv4::Range range;
  bool forwarded = false;  // whether the host forwarded packets before
  bool operator==(const BridgeAlias&) const = default;
};
std::string text_of(const BridgeAlias& alias);
std::optional<BridgeAlias> parse_bridge_alias(std::string_view text);

/// And in a member's: "tare:instance=t4f9c2a71b0e2;address=10.214.7.9".
struct MemberAlias {
  std::string instance;
  std::uint32_t address = 0;
  bool operator==(const MemberAlias&) const = default;
};
std::string text_of(const MemberAlias& alias);
std::optional<MemberAlias> parse_member_alias(std::string_view text);

/// Makes table `ip tare` anew, in nft's language. `fenced` are the interfaces of a host that did not forward before: between them it
/// still does not.
std::string rules(const ipv4::Range& range, const std::vector<std::string>& fenced);
/// Removes the table, if it is there.
std::string no_rules();
/// One TCP port of the host that leads to an instance.
struct Published {
  std::uint16_t host = 0;
  std::string instance;
  std::uint32_t address = 0;
  std::uint16_t port = 0;
  bool operator==(const Published&) const = default;
};
/// Adds them, all or none: a port that is there already fails the whole.
std::string publish(const std::vector<Published>& ports);
std::string unpublish(const std::vector<std::uint16_t>& host_ports);
std::string list_published();
/// From what list_published() printed.
std::vector<Published> parse_published(std::string_view printed);

}  // namespace tare::bridge
