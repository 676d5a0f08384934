// SPDX-License-Identifier: Apache-2.0
#include "core/bridge_plan.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <sstream>

namespace tare::bridge {
namespace {

constexpr std::string_view kBridgeMark = "tare:bridge";
constexpr std::string_view kMemberMark = "tare:instance=";

/// The value of `key` in "…;key=value;…".
std::optional<std::string_view> value_of(std::string_view text, std::string_view key) {
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(';', at), text.size());
    const std::string_view part = text.substr(at, end - at);
    if (part.size() > key.size() && part.starts_with(key) && part[key.size()] == '=') return part.substr(key.size() + 1);
    at = end + 1;
  }
  return std::nullopt;
}

// What may stand between quotes in nft's language.
bool is_plain(const std::string& name) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-";
  return !name.empty() && name.find_first_not_of(kPlain) == std::string::npos;
}

std::string quoted(const std::string& text) { return '"' + text + '"'; }

}  // namespace

std::uint32_t gateway_of(const ipv4::Range& range) { return range.base + 1; }

std::string mac_of(std::uint32_t address) {
  char text[18];
  std::snprintf(text, sizeof text, "02:74:%02x:%02x:%02x:%02x", address >> 24, address >> 16 & 0xff, address >> 8 & 0xff, address & 0xff);
  return text;
}

bool is_our_mac(std::string_view mac) { return mac.starts_with("02:74:"); }

std::string claim_of(std::uint32_t address) { return "tare-" + ipv4::text_of(address); }

std::optional<std::uint32_t> free_address(const ipv4::Range& range, const std::string& instance_id,
                                          const std::function<bool(std::uint32_t)>& taken) {
  const std::uint32_t first = gateway_of(range) + 1;
  const std::uint32_t count = range.last() > first ? range.last() - first : 0;  // its last address is for broadcasts
  const std::size_t start = std::hash<std::string>{}(instance_id);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t address = first + static_cast<std::uint32_t>((start + i) % count);
    if (!taken(address)) return address;
  }
  return std::nullopt;
}

std::optional<ipv4::Range> choose_range(const std::optional<ipv4::Range>& wanted, const std::vector<ipv4::Range>& occupied) {
  const auto is_free = [&](const ipv4::Range& range) {
    return std::none_of(occupied.begin(), occupied.end(),
                        [&](const ipv4::Range& other) { return other.prefix >= range.prefix && other.overlaps(range); });
  };
  if (wanted) return is_free(*wanted) ? wanted : std::nullopt;
  for (std::uint32_t second = 214; second < 224; ++second) {
    const ipv4::Range range{10U << 24 | second << 16, 16};
    if (is_free(range)) return range;
  }
  return std::nullopt;
}

std::string text_of(const BridgeAlias& alias) {
  return std::string(kBridgeMark) + ";range=" + alias.range.text() + ";ip_forward=" + (alias.forwarded ? "1" : "0");
}

std::optional<BridgeAlias> parse_bridge_alias(std::string_view text) {
  if (!text.starts_with(kBridgeMark)) return std::nullopt;
  const auto range = ipv4::parse_range(value_of(text, "range").value_or(""));
  const auto forward = value_of(text, "ip_forward");
  if (!range || !forward) return std::nullopt;
  return BridgeAlias{*range, *forward == "1"};
}

std::string text_of(const MemberAlias& alias) {
  return std::string(kMemberMark) + alias.instance + ";address=" + ipv4::text_of(alias.address);
}

std::optional<MemberAlias> parse_member_alias(std::string_view text) {
  const auto instance = value_of(text, "tare:instance");
  const auto address = ipv4::parse(value_of(text, "address").value_or(""));
  if (!instance || !address) return std::nullopt;
  return MemberAlias{std::string(*instance), *address};
}

std::string no_rules() { return "add table ip tare\ndelete table ip tare\n"; }

std::string rules(const ipv4::Range& range, const std::vector<std::string>& fenced) {
  const std::string all = range.text();
  std::ostringstream out;
  out << no_rules() << R"(table ip tare {
  map published { type inet_service : ipv4_addr . inet_service; }
  # 127.0.0.0/8 is routed on tare0 so that published ports answer on loopback; nobody comes in that way by himself.
  chain guard { type filter hook prerouting priority -300; policy accept;
    iifname "tare0" ip daddr 127.0.0.0/8 drop
  }
  chain arriving { type nat hook prerouting priority -100; policy accept;
    fib daddr type local dnat ip to tcp dport map @published
  }
  chain local { type nat hook output priority -100; policy accept;
    fib daddr type local dnat ip to tcp dport map @published
  }
  chain leaving { type nat hook postrouting priority 100; policy accept;
    ip saddr 127.0.0.0/8 oifname "tare0" masquerade
)";
  // From one instance to another's published port: the answer must come back through the host, or it meets a stranger's address.
  out << "    ip saddr " << all << " ip daddr " << all << " ct status dnat masquerade\n";
  out << "    ip saddr " << all << " oifname != \"tare0\" masquerade\n  }\n";
  out << R"(  chain passing { type filter hook forward priority 0; policy accept;
    iifname "tare0" accept
    oifname "tare0" ct state established,related accept
    oifname "tare0" ct status dnat accept
    oifname "tare0" drop
)";
  // Not "everything else is dropped": with bridge-nf-call-iptables, frames of other bridges pass here, from a bridge to itself.
  for (const std::string& name : fenced) {
    if (is_plain(name)) out << "    iifname " << quoted(name) << " oifname != " << quoted(name) << " drop\n";
  }
  out << "  }\n}\n";
  return out.str();
}

std::string publish(const std::vector<Published>& ports) {
  std::string list;
  for (const Published& port : ports) {
    list += (list.empty() ? "" : ", ") + std::to_string(port.host) + " comment " + quoted(port.instance) + " : " +
            ipv4::text_of(port.address) + " . " + std::to_string(port.port);
  }
  return "create element ip tare published { " + list + " }\n";
}

std::string unpublish(const std::vector<std::uint16_t>& host_ports) {
  std::string list;
  for (const std::uint16_t port : host_ports) list += (list.empty() ? "" : ", ") + std::to_string(port);
  return "delete element ip tare published { " + list + " }\n";
}

std::string list_published() { return "list map ip tare published\n"; }

std::vector<Published> parse_published(std::string_view printed) {
  std::vector<Published> found;
  const std::size_t open = printed.find("elements = {");
  if (open == std::string_view::npos) return found;
  const std::size_t begin = open + std::string_view("elements = {").size();
  std::istringstream entries{std::string(printed.substr(begin, printed.find('}', begin) - begin))};
  for (std::string entry; std::getline(entries, entry, ',');) {
    std::istringstream words(entry);  // 8080 comment "t4f9c2a71b0e2" : 10.214.7.9 . 80
    Published port;
    std::string word, address;
    words >> port.host >> word;
    if (word == "comment") {
      words >> port.instance >> word;
      std::erase(port.instance, '"');
    }
    words >> address >> word >> port.port;
    port.address = ipv4::parse(address).value_or(0);
    if (words && port.address != 0) found.push_back(port);
  }
  return found;
}

}  // namespace tare::bridge
