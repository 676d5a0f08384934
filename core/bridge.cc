// SPDX-License-Identifier: Apache-2.0
#include "core/bridge.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <thread>

#include "core/bridge_messages.h"
#include "core/bridge_plan.h"
#include "core/error.h"
#include "core/files.h"
#include "core/link_removal.h"
#include "core/netlink.h"
#include "core/nft.h"
#include "core/offloads.h"
#include "core/rtnl.h"

namespace tare::bridge {
namespace {

using rtnl::Link;
using rtnl::Socket;

constexpr unsigned kCarrier = 1U << 16;  // IFF_LOWER_UP of linux/if.h, which cannot stand beside net/if.h
constexpr const char* kForward = "/proc/sys/net/ipv4/ip_forward";

struct Bridge {
  int index = 0;
  ipv4::Range range;
};

// All of these under the lock.

bool is_ours(const Link& link) {
  return link.kind == "bridge" && is_our_mac(link.mac) && (link.alias.empty() || parse_bridge_alias(link.alias));
}

std::optional<Link> find_bridge(Socket& socket) {
  auto link = socket.find(kName);
  if (link && !is_ours(*link)) {
    throw Error(Code::conflict, std::string("interface ") + kName + " exists and is not tare's", "rename or remove it");
  }
  return link;
}

/// Removes the bridge, and its last member with it.
void remove_bridge(Socket& socket, const Link& link, const std::string& member = {}) {
  const auto alias = parse_bridge_alias(link.alias);
  socket.send(all_of(set_down(link.index, kName)));  // from now on nobody takes it for a whole one
  if (nft::is_available()) nft::run(no_rules(), "remove table tare");
  if (alias && !alias->forwarded) write_kernel_file(kForward, "0\n");
  std::vector<std::string> names = {kName};
  if (!member.empty()) names.push_back(member);
  rtnl::remove_links(names);
}

BridgeAlias choose(Socket& socket, const Settings& settings) {
  const auto wanted = settings.range.empty() ? std::nullopt : ipv4::parse_range(settings.range);
  const auto range = choose_range(wanted, socket.occupied());
  if (!range) {
    throw Error(Code::conflict, "bridge tare0: " + (wanted ? wanted->text() : "10.214.0.0/16 … 10.223.0.0/16") + " is in use on this host",
                "set bridge_range in agent.yaml to a free range");
  }
  return {*range, try_read_number(kForward).value_or(0) != 0};
}

std::vector<std::string> fenced(Socket& socket, const BridgeAlias& alias) {
  std::vector<std::string> names;
  if (alias.forwarded) return names;
  for (const Link& link : socket.links()) {
    if ((link.flags & IFF_LOOPBACK) == 0 && !link.name.starts_with("tare")) names.push_back(link.name);
  }
  return names;
}

/// Rules before settings: a packet that a setting lets through must meet them.
void furnish(Socket& socket, int index, const BridgeAlias& alias) {
  nft::run(rules(alias.range, fenced(socket, alias)), "make table tare");
  const std::filesystem::path sysctl = "/proc/sys/net";
  write_kernel_file(sysctl / "ipv4/conf" / kName / "route_localnet", "1\n");
  // An instance that plays a router must not give the host an address.
  if (try_read_number(sysctl / "ipv6/conf" / kName / "disable_ipv6"))
    write_kernel_file(sysctl / "ipv6/conf" / kName / "disable_ipv6", "1\n");
  if (!alias.forwarded) write_kernel_file(kForward, "1\n");
  socket.send(all_of(new_address(index, gateway_of(alias.range), alias.range), set_up(index, kName)));
}

/// The bridge, made if need be. It is up only when it is whole: one that is down is what a crash left half-made or half-removed, and
/// its alias still knows what was found.
Bridge ensure(Socket& socket, const Settings& settings) {
  auto link = find_bridge(socket);
  auto alias = link ? parse_bridge_alias(link->alias) : std::nullopt;
  if (link && alias && (link->flags & IFF_UP) != 0) return {link->index, alias->range};
  if (link && !alias) remove_bridge(socket, *link);
  if (!alias) {
    alias = choose(socket, settings);
    socket.send(new_bridge(*alias));
    link = find_bridge(socket);
    if (!link) throw Error(Code::failed, "bridge tare0 vanished while it was made");
  }
  try {
    furnish(socket, link->index, *alias);
  } catch (...) {
    if (socket.links(link->index).empty()) remove_bridge(socket, *find_bridge(socket));
    throw;
  }
  return {link->index, alias->range};
}

void furnish_again(Socket& socket) {
  const auto link = find_bridge(socket);
  if (const auto alias = link ? parse_bridge_alias(link->alias) : std::nullopt) furnish(socket, link->index, *alias);
}

void remove_if_empty(Socket& socket) {
  const auto link = socket.find(kName);
  if (link && is_ours(*link) && socket.links(link->index).empty()) remove_bridge(socket, *link);
}

Place place_for(Socket& socket, const Bridge& bridge, const std::string& instance_id) {
  const auto address =
      free_address(bridge.range, instance_id, [&](std::uint32_t wanted) { return socket.find(claim_of(wanted)).has_value(); });
  if (!address) {
    throw Error(Code::exhausted, "bridge tare0: no address of " + bridge.range.text() + " is free",
                "remove instances that are no longer needed");
  }
  Place place;
  place.instance = instance_id;
  place.address = ipv4::text_of(*address);
  place.prefix = bridge.range.prefix;
  place.mac = mac_of(*address);
  place.gateway = ipv4::text_of(gateway_of(bridge.range));
  place.gateway_mac = mac_of(gateway_of(bridge.range));
  return place;
}

std::uint32_t address_of(const Place& place) { return ipv4::parse(place.address).value_or(0); }

void connect_port(Socket& socket, const Bridge& bridge, const Place& place) {
  const auto link = socket.find(place.interface);
  if (!link) throw Error(Code::not_found, "interface " + place.interface + " vanished while it joined tare0");
  socket.send(all_of(forwarding_entry(link->index, place.mac), new_neighbour(bridge.index, address_of(place), place.mac),
                     set_up(link->index, place.interface)));
}

void configure_inside(const Namespace& inside, const Place& place) {
  Socket socket(Fd(::fcntl(inside.socket.get(), F_DUPFD_CLOEXEC, 0)));
  const auto link = socket.find("eth0");
  if (!link) throw Error(Code::not_found, "eth0 vanished from the network of " + place.instance);
  const std::uint32_t gateway = ipv4::parse(place.gateway).value_or(0);
  const ipv4::Range range{gateway - 1, place.prefix};
  socket.send(all_of(new_address(link->index, address_of(place), range), set_up(link->index, "eth0"),
                     new_neighbour(link->index, gateway, place.gateway_mac), new_default_route(link->index, gateway)));
}

// Whoever reloads a firewall by `flush ruleset` removes our table as well.
bool has_rules() { return nft::run("list tables ip\n", "list tables").find("table ip tare\n") != std::string::npos; }

/// Which of `ports` others have; those that lead to no instance any more are given up.
std::vector<Published> taken(Socket& socket, const std::vector<Publish>& ports) {
  std::vector<Published> others;
  std::vector<std::uint16_t> stale;
  for (Published& port : parse_published(nft::run(list_published(), "list published ports"))) {
    const bool wanted = std::any_of(ports.begin(), ports.end(), [&](const Publish& p) { return p.host == port.host; });
    if (!socket.find(claim_of(port.address))) {
      stale.push_back(port.host);
    } else if (wanted) {
      others.push_back(std::move(port));
    }
  }
  if (!stale.empty()) nft::run(unpublish(stale), "remove published ports");
  return others;
}

}  // namespace

Namespace Namespace::make() { return in(Fd()); }

Namespace Namespace::in(Fd fd) {
  Namespace made;
  std::exception_ptr failure;
  // On a thread of its own, so that a failure can never leave the caller in the wrong namespace.
  std::thread([&] {
    try {
      const int entered = fd ? ::setns(fd.get(), CLONE_NEWNET) : ::unshare(CLONE_NEWNET);
      if (entered != 0) throw_errno("network namespace", "run tare as root");
      netlink::set_loopback_up();
      const std::filesystem::path ipv6 = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
      if (try_read_number(ipv6)) write_kernel_file(ipv6, "1\n");
      made.fd = open_file("/proc/thread-self/ns/net", O_RDONLY);
      made.socket = rtnl::open_socket();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
  return made;
}

std::map<std::string, std::string> description(const Place& place) {
  std::map<std::string, std::string> out = {
      {"network", std::string("bridge ") + kName + ", " + place.address + "/" + std::to_string(place.prefix)}};
  try {
    const Offloads offloads = offloads_of(place.interface);
    out["mtu"] = std::to_string(offloads.mtu);
    out["offloads"] = text_of(offloads);
  } catch (const Error&) {  // NOLINT: it ended meanwhile; what cannot be read is left out
  }
  return out;
}

void prepare(const Settings& settings) {
  Socket socket;
  const FileLock lock = FileLock::wait(settings.lock_file);
  ensure(socket, settings);
}

Member Member::by_veth(const Settings& settings, const std::string& instance_id, const Namespace& inside) {
  Socket socket;
  std::optional<Member> member;
  {
    const FileLock lock = FileLock::wait(settings.lock_file);
    const Bridge bridge = ensure(socket, settings);
    Place place = place_for(socket, bridge, instance_id);
    place.interface = netlink::interface_name(instance_id, 'h');
    member.emplace(Member(settings, std::move(place)));  // whatever fails from here on is undone by it, but for the lock it needs
    try {
      socket.send(new_veth(member->place(), bridge.index, inside.fd.get()));
      connect_port(socket, bridge, member->place());
    } catch (...) {
      rtnl::remove_links({member->place().interface});
      remove_if_empty(socket);
      member->place_ = {};
      throw;
    }
  }
  configure_inside(inside, member->place());
  return std::move(*member);
}

Member Member::by_tap(const Settings& settings, const std::string& instance_id, const std::string& tap) {
  Socket socket;
  const FileLock lock = FileLock::wait(settings.lock_file);
  const Bridge bridge = ensure(socket, settings);
  Place place = place_for(socket, bridge, instance_id);
  place.interface = tap;
  try {
    socket.send(join(place, bridge.index));
    set_generic_receive(tap, false);  // as a veth has it
    connect_port(socket, bridge, place);
  } catch (...) {
    rtnl::remove_links({tap});
    remove_if_empty(socket);
    throw;
  }
  return {settings, std::move(place)};
}

std::optional<Member> Member::find(const Settings& settings, const std::string& instance_id) {
  Socket socket;
  const auto bridge = socket.find(kName);
  const auto alias = bridge ? parse_bridge_alias(bridge->alias) : std::nullopt;
  if (!alias) return std::nullopt;
  for (const char side : {'h', 't'}) {
    const auto link = socket.find(netlink::interface_name(instance_id, side));
    const auto label = link ? parse_member_alias(link->alias) : std::nullopt;
    if (!label || label->instance != instance_id) continue;
    const std::uint32_t gateway = gateway_of(alias->range);
    const auto published = has_rules() ? parse_published(nft::run(list_published(), "list published ports")) : std::vector<Published>();
    Member member(settings, {instance_id, link->name, ipv4::text_of(label->address), alias->range.prefix, mac_of(label->address),
                             ipv4::text_of(gateway), mac_of(gateway)});
    for (const Published& port : published) {
      if (port.address == label->address) member.published_.push_back(port.host);
    }
    return member;
  }
  return std::nullopt;
}

Member& Member::operator=(Member other) noexcept {
  std::swap(settings_, other.settings_);
  std::swap(place_, other.place_);
  std::swap(published_, other.published_);
  return *this;
}

Member::~Member() {
  try {
    remove();
  } catch (const std::exception&) {  // NOLINT: a destructor; tidy() of the next agent finds it by its label
  }
}

void Member::publish(const std::vector<Publish>& ports) {
  if (ports.empty()) return;
  std::vector<Published> wanted;
  for (const Publish& port : ports) wanted.push_back({port.host, place_.instance, address_of(place_), port.port});
  const FileLock lock = FileLock::wait(settings_.lock_file);
  Socket socket;
  std::vector<Published> others;
  try {
    others = taken(socket, ports);
  } catch (const Error&) {
    if (has_rules()) throw;
    furnish_again(socket);
  }
  if (!others.empty()) {
    throw Error(Code::conflict, "port " + std::to_string(others[0].host) + " of this host is published by instance " + others[0].instance,
                "publish another port, or remove that instance");
  }
  if (const auto link = socket.find(place_.interface)) socket.send(all_of(hairpin(link->index)));
  nft::run(bridge::publish(wanted), "publish ports");
  for (const Publish& port : ports) published_.push_back(port.host);
}

void Member::remove() {
  if (place_.instance.empty()) return;
  Socket socket;
  unpublish_all();
  if (settings_.keep || !remove_as_last(socket)) {
    if (const auto bridge = socket.find(kName)) socket.send(all_of(remove_neighbour(bridge->index, address_of(place_))));
    rtnl::remove_links({place_.interface});
    // A member with a carrier gives the bridge one: then it is not empty, and nobody has to wait for the lock.
    const auto bridge = socket.find(kName);
    if (!settings_.keep && bridge && (bridge->flags & kCarrier) == 0) {
      const FileLock lock = FileLock::wait(settings_.lock_file);
      remove_if_empty(socket);
    }
  }
  place_ = {};
}

bool Member::remove_as_last(rtnl::Socket& socket) const {
  const auto is_last = [&](const std::optional<Link>& bridge) {
    if (!bridge || !is_ours(*bridge)) return false;
    const auto members = socket.links(bridge->index);
    return members.size() == 1 && members[0].name == place_.interface;
  };
  if (!is_last(socket.find(kName))) return false;
  const FileLock lock = FileLock::wait(settings_.lock_file);
  const auto bridge = socket.find(kName);
  if (!is_last(bridge)) return false;
  remove_bridge(socket, *bridge, place_.interface);
  return true;
}

void Member::unpublish_all() {
  std::vector<std::uint16_t> ours;
  const auto still_there = [&] {
    ours.clear();
    if (!has_rules()) return false;
    for (const Published& port : parse_published(nft::run(list_published(), "list published ports"))) {
      if (port.address == address_of(place_)) ours.push_back(port.host);
    }
    return !ours.empty();
  };
  if (published_.empty()) return;
  try {
    nft::run(unpublish(published_), "remove published ports");
  } catch (const Error&) {
    if (still_there()) nft::run(unpublish(ours), "remove published ports");
  }
  published_.clear();
}

void tidy(const Settings& settings) {
  Socket socket;
  if (!socket.find(kName)) return;
  const FileLock lock = FileLock::wait(settings.lock_file);
  remove_if_empty(socket);
  if (const auto link = socket.find(kName); link && is_ours(*link)) taken(socket, {});
}

Keeper::~Keeper() {
  try {
    tidy(settings_);
  } catch (const std::exception&) {  // NOLINT: a destructor; the next agent tidies
  }
}

std::optional<Standing> standing() {
  Socket socket;
  const auto link = socket.find(kName);
  const auto alias = link && is_ours(*link) ? parse_bridge_alias(link->alias) : std::nullopt;
  if (!alias) return std::nullopt;
  return Standing{alias->range.text(), socket.links(link->index).size(), alias->forwarded};
}

}  // namespace tare::bridge
