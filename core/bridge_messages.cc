// SPDX-License-Identifier: Apache-2.0
#include "core/bridge_messages.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <cerrno>

namespace tare::bridge {
namespace {

std::uint32_t unsigned_of(int index) { return static_cast<std::uint32_t>(index); }

// No link-local IPv6 address: it would first be announced and defended, on every member.
void no_ipv6_address(Message& message) {
  message.nested(IFLA_AF_SPEC, [](Message& families) {
    families.nested(AF_INET6, [](Message& inet6) { nla_put_u8(inet6.get(), IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE); });
  });
}

Message change_link(const std::string& name, const std::string& action) {
  Message message(RTM_SETLINK, 0, ifinfomsg{}, action);
  message.text(IFLA_IFNAME, name);
  return message;
}

Message label(const std::string& interface, const std::string& alias) {
  Message message = change_link(interface, "label " + interface);
  message.text(IFLA_IFALIAS, alias);
  no_ipv6_address(message);
  return message;
}

Message claim(const std::string& interface, std::uint32_t address) {
  Message message(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{}, "claim address " + ipv4::text_of(address));
  message.text(IFLA_IFNAME, interface);
  message.nested(IFLA_PROP_LIST, [&](Message& list) { list.text(IFLA_ALT_IFNAME, claim_of(address)); });
  return message;
}

void add_labels(Messages& messages, const Place& place) {
  const std::uint32_t address = ipv4::parse(place.address).value_or(0);
  messages.push_back(label(place.interface, text_of(MemberAlias{place.instance, address})));
  messages.push_back(claim(place.interface, address));
}

// One queue: the default is one for each possible CPU, each of them with its objects in sysfs.
void one_queue(Message& message) { message.number(IFLA_NUM_TX_QUEUES, 1).number(IFLA_NUM_RX_QUEUES, 1); }

Message switched(int index, const std::string& action, unsigned flags) {
  ifinfomsg header{};
  header.ifi_index = index;
  header.ifi_flags = flags;
  header.ifi_change = IFF_UP;
  return {RTM_SETLINK, 0, header, action};
}

ndmsg neighbour_header(int family, int index, std::uint16_t state) {
  ndmsg header{};
  header.ndm_family = static_cast<unsigned char>(family);
  header.ndm_ifindex = index;
  header.ndm_state = state;
  return header;
}

}  // namespace

Messages new_bridge(const BridgeAlias& alias) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{}, "make bridge tare0");
  message.text(IFLA_IFNAME, kName).number(IFLA_MTU, kMtu).hardware(IFLA_ADDRESS, mac_of(gateway_of(alias.range)));
  message.nested(IFLA_LINKINFO, [](Message& info) {
    info.text(IFLA_INFO_KIND, "bridge");
    info.nested(IFLA_INFO_DATA, [](Message& data) { nla_put_u8(data.get(), IFLA_BR_MCAST_SNOOPING, 0); });
  });
  return all_of(std::move(message), label(kName, text_of(alias)));
}

Messages new_veth(const Place& place, int bridge, int netns) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{}, "make veth " + place.interface);
  message.text(IFLA_IFNAME, place.interface).number(IFLA_MTU, kMtu).number(IFLA_MASTER, unsigned_of(bridge));
  one_queue(message);
  message.nested(IFLA_LINKINFO, [&](Message& info) {
    info.text(IFLA_INFO_KIND, "veth");
    info.nested(IFLA_INFO_DATA, [&](Message& data) {
      data.nested(VETH_INFO_PEER, [&](Message& peer) {
        ifinfomsg header{};  // not up yet: the kernel refuses that before both ends are there
        nlmsg_append(peer.get(), &header, sizeof header, NLMSG_ALIGNTO);
        peer.text(IFLA_IFNAME, "eth0").number(IFLA_MTU, kMtu).hardware(IFLA_ADDRESS, place.mac);
        peer.number(IFLA_NET_NS_FD, unsigned_of(netns));
        one_queue(peer);
      });
    });
  });
  Messages messages = all_of(std::move(message));
  add_labels(messages, place);
  return messages;
}

Messages join(const Place& place, int bridge) {
  Message message = change_link(place.interface, "join " + place.interface + " to tare0");
  message.number(IFLA_MTU, kMtu).number(IFLA_MASTER, unsigned_of(bridge));
  Messages messages = all_of(std::move(message));
  add_labels(messages, place);
  return messages;
}

Message set_up(int index, const std::string& name) { return switched(index, "set up " + name, IFF_UP); }
Message set_down(int index, const std::string& name) { return switched(index, "set down " + name, 0); }

Message new_address(int index, std::uint32_t address, const ipv4::Range& range) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = static_cast<unsigned char>(range.prefix);
  header.ifa_index = unsigned_of(index);
  Message message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, header, "add address " + ipv4::text_of(address));
  message.unless(EEXIST).address(IFA_LOCAL, address).address(IFA_ADDRESS, address).address(IFA_BROADCAST, range.last());
  return message;
}

Message new_default_route(int index, std::uint32_t gateway) {
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_BOOT;
  header.rtm_scope = RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_UNICAST;
  Message message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, header, "default route by " + ipv4::text_of(gateway));
  message.address(RTA_GATEWAY, gateway).number(RTA_OIF, unsigned_of(index));
  return message;
}

Message new_neighbour(int index, std::uint32_t address, const std::string& mac) {
  Message message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, neighbour_header(AF_INET, index, NUD_PERMANENT),
                  "neighbour entry of " + ipv4::text_of(address));
  message.address(NDA_DST, address).hardware(NDA_LLADDR, mac);
  return message;
}

Message remove_neighbour(int index, std::uint32_t address) {
  Message message(RTM_DELNEIGH, 0, neighbour_header(AF_INET, index, 0), "remove neighbour entry of " + ipv4::text_of(address));
  message.unless(ENOENT).unless(ENODEV).address(NDA_DST, address);
  return message;
}

Message forwarding_entry(int port, const std::string& mac) {
  ndmsg header = neighbour_header(AF_BRIDGE, port, NUD_NOARP);
  header.ndm_flags = NTF_MASTER;
  Message message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, header, "forwarding entry of " + mac);
  message.hardware(NDA_LLADDR, mac);
  return message;
}

Message hairpin(int port) {
  ifinfomsg header{};
  header.ifi_family = AF_BRIDGE;
  header.ifi_index = port;
  Message message(RTM_SETLINK, 0, header, "hairpin mode of a port of tare0");
  message.nested(IFLA_PROTINFO | NLA_F_NESTED, [](Message& info) { nla_put_u8(info.get(), IFLA_BRPORT_MODE, 1); });
  return message;
}

}  // namespace tare::bridge
