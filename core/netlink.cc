// SPDX-License-Identifier: Apache-2.0
#include "core/netlink.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/route.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace tare::netlink {
namespace {

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using Socket = std::unique_ptr<nl_sock, Freed<nl_socket_free>>;
using Cache = std::unique_ptr<nl_cache, Freed<nl_cache_free>>;
using Link = std::unique_ptr<rtnl_link, Freed<rtnl_link_put>>;
using Address = std::unique_ptr<rtnl_addr, Freed<rtnl_addr_put>>;
using Route = std::unique_ptr<rtnl_route, Freed<rtnl_route_put>>;
using NlAddress = std::unique_ptr<nl_addr, Freed<nl_addr_put>>;

constexpr std::uint32_t kPool = 10U << 24 | 213U << 16;  // 10.213.0.0/16
constexpr std::uint32_t kSubnets = 1U << 14;             // of four addresses each

void check(int result, const std::string& action) {
  if (result >= 0) return;
  Code code = Code::failed;
  if (result == -NLE_PERM) code = Code::unsuited;
  if (result == -NLE_EXIST || result == -NLE_BUSY) code = Code::conflict;
  if (result == -NLE_NODEV || result == -NLE_OBJ_NOTFOUND) code = Code::not_found;
  if (result == -NLE_NOMEM) code = Code::exhausted;
  throw Error(code, action + ": " + nl_geterror(result), result == -NLE_PERM ? "run tare as root" : "");
}

Socket route_socket() {
  Socket socket(nl_socket_alloc());
  if (!socket) throw Error(Code::exhausted, "netlink socket: out of memory");
  check(nl_connect(socket.get(), NETLINK_ROUTE), "netlink socket");
  return socket;
}

/// Runs `work` on a thread of its own inside the network namespace, so that a failure can never leave the caller in the wrong one.
void in_namespace(int netns_fd, const std::function<void()>& work) {
  std::exception_ptr failure;
  std::thread([&] {
    try {
      if (setns(netns_fd, CLONE_NEWNET) != 0) throw_errno("enter network namespace");
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

std::string text_of_address(std::uint32_t address) {
  in_addr raw{htonl(address)};
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &raw, text, sizeof text);
}

NlAddress parse_address(const std::string& text) {
  nl_addr* address = nullptr;
  check(nl_addr_parse(text.c_str(), AF_INET, &address), "address " + text);
  return NlAddress(address);
}

struct Range {
  std::uint32_t first;
  std::uint32_t last;
};

/// What the IPv4 addresses of this host occupy. A prefix wider than our pool (10.0.0.0/8 on eth0) blocks only its own address: the /30
/// is the more specific route.
std::vector<Range> occupied(nl_sock* socket) {
  nl_cache* raw = nullptr;
  check(rtnl_addr_alloc_cache(socket, &raw), "list addresses");
  Cache cache(raw);
  std::vector<Range> ranges;
  for (nl_object* object = nl_cache_get_first(cache.get()); object != nullptr; object = nl_cache_get_next(object)) {
    nl_addr* local = rtnl_addr_get_local(reinterpret_cast<rtnl_addr*>(object));
    if (local == nullptr || nl_addr_get_family(local) != AF_INET) continue;
    std::uint32_t address = 0;
    std::copy_n(static_cast<const unsigned char*>(nl_addr_get_binary_addr(local)), sizeof address,
                reinterpret_cast<unsigned char*>(&address));
    address = ntohl(address);
    const unsigned prefix = nl_addr_get_prefixlen(local);
    const std::uint32_t hosts = prefix < 16 || prefix >= 32 ? 0 : 0xffffffffU >> prefix;
    ranges.push_back({address & ~hosts, address | hosts});
  }
  return ranges;
}

std::optional<std::uint32_t> free_subnet(const std::vector<Range>& ranges, std::size_t start) {
  for (std::uint32_t i = 0; i < kSubnets; ++i) {
    const std::uint32_t base = kPool + 4 * static_cast<std::uint32_t>((start + i) % kSubnets);
    const bool taken = std::any_of(ranges.begin(), ranges.end(), [&](const Range& r) { return r.first <= base + 3 && r.last >= base; });
    if (!taken) return base;
  }
  return std::nullopt;
}

int index_of(const std::string& name) {
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0) throw_errno("interface " + name);
  return static_cast<int>(index);
}

void add_address(nl_sock* socket, int index, const std::string& address, int prefix) {
  Address entry(rtnl_addr_alloc());
  NlAddress local = parse_address(address + "/" + std::to_string(prefix));
  rtnl_addr_set_ifindex(entry.get(), index);
  check(rtnl_addr_set_local(entry.get(), local.get()), "address " + address);
  check(rtnl_addr_add(socket, entry.get(), NLM_F_EXCL), "add address " + address);
}

void set_up(nl_sock* socket, int index, const std::string& name) {
  Link which(rtnl_link_alloc());
  Link change(rtnl_link_alloc());
  rtnl_link_set_ifindex(which.get(), index);
  rtnl_link_set_flags(change.get(), IFF_UP);
  check(rtnl_link_change(socket, which.get(), change.get(), 0), "set interface " + name + " up");
}

void add_default_route(nl_sock* socket, int index, const std::string& gateway) {
  Route route(rtnl_route_alloc());
  NlAddress everywhere = parse_address("0.0.0.0/0");
  NlAddress via = parse_address(gateway);
  rtnl_route_set_family(route.get(), AF_INET);
  check(rtnl_route_set_dst(route.get(), everywhere.get()), "default route");
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  rtnl_route_nh_set_ifindex(hop, index);
  rtnl_route_nh_set_gateway(hop, via.get());
  rtnl_route_add_nexthop(route.get(), hop);  // the route owns the hop now
  check(rtnl_route_add(socket, route.get(), NLM_F_CREATE), "add default route by " + gateway);
}

}  // namespace

std::string interface_name(const std::string& instance_id, char side) {
  // IFNAMSIZ leaves 15 characters: "tare", ten of the id's twelve hex digits, and the side.
  return "tare" + instance_id.substr(instance_id.empty() ? 0 : 1, 10) + side;
}

Subnet claim_subnet(const std::string& name, const std::string& lock_file) {
  const FileLock lock = FileLock::wait(lock_file);
  Socket socket = route_socket();
  const int index = index_of(name);
  const auto base = free_subnet(occupied(socket.get()), std::hash<std::string>{}(name));
  if (!base) throw Error(Code::exhausted, "no free /30 in 10.213.0.0/16 for " + name, "remove instances that are no longer needed");
  Subnet subnet{text_of_address(*base + 1), text_of_address(*base + 2), 30};
  add_address(socket.get(), index, subnet.host, subnet.prefix);
  set_up(socket.get(), index, name);
  return subnet;
}

void create_veth(const std::string& host_name, const std::string& instance_name, int netns_fd) {
  Socket socket = route_socket();
  Link link(rtnl_link_veth_alloc());
  if (!link) throw Error(Code::exhausted, "veth " + host_name + ": out of memory");
  rtnl_link_set_name(link.get(), host_name.c_str());
  Link peer(rtnl_link_veth_get_peer(link.get()));
  rtnl_link_set_name(peer.get(), instance_name.c_str());
  rtnl_link_set_ns_fd(peer.get(), netns_fd);
  check(rtnl_link_add(socket.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL), "create veth " + host_name);
}

void set_loopback_up() {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) throw_errno("socket");
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) throw_errno("set loopback up");
}

void configure_instance_end(const std::string& name, const Subnet& subnet, int netns_fd) {
  in_namespace(netns_fd, [&] {
    Socket socket = route_socket();
    const int index = index_of(name);
    add_address(socket.get(), index, subnet.instance, subnet.prefix);
    set_up(socket.get(), index, name);
    set_loopback_up();
    add_default_route(socket.get(), index, subnet.host);
  });
}

Counters counters(const std::string& name) {
  const std::string folder = "/sys/class/net/" + name + "/statistics/";
  const auto received = try_read_number(folder + "rx_bytes");
  const auto transmitted = try_read_number(folder + "tx_bytes");
  if (!received || !transmitted) throw Error(Code::not_found, "interface " + name + " has no counters");
  return {*received, *transmitted};
}

}  // namespace tare::netlink
