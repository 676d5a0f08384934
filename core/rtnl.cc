// SPDX-License-Identifier: Apache-2.0
#include "core/rtnl.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.h"

namespace tare::rtnl {
namespace {

constexpr std::size_t kBuffer = 64 * 1024;  // more than the kernel puts into one datagram of a dump

std::string text_of_mac(const nlattr* attribute) {
  const auto* octet = static_cast<const unsigned char*>(nla_data(attribute));
  if (nla_len(attribute) != 6) return {};
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", octet[0], octet[1], octet[2], octet[3], octet[4], octet[5]);
  return text;
}

std::string string_of(const nlattr* attribute) { return attribute == nullptr ? std::string() : nla_get_string(attribute); }

Link link_of(nlmsghdr* header) {
  nlattr* attributes[IFLA_MAX + 1] = {};
  nlmsg_parse(header, sizeof(ifinfomsg), attributes, IFLA_MAX, nullptr);
  const auto* info = static_cast<const ifinfomsg*>(nlmsg_data(header));
  Link link;
  link.index = info->ifi_index;
  link.flags = info->ifi_flags;
  link.name = string_of(attributes[IFLA_IFNAME]);
  link.alias = string_of(attributes[IFLA_IFALIAS]);
  if (attributes[IFLA_MTU] != nullptr) link.mtu = nla_get_u32(attributes[IFLA_MTU]);
  if (attributes[IFLA_MASTER] != nullptr) link.master = static_cast<int>(nla_get_u32(attributes[IFLA_MASTER]));
  if (attributes[IFLA_ADDRESS] != nullptr) link.mac = text_of_mac(attributes[IFLA_ADDRESS]);
  if (attributes[IFLA_LINKINFO] != nullptr) {
    nlattr* kind[IFLA_INFO_MAX + 1] = {};
    nla_parse_nested(kind, IFLA_INFO_MAX, attributes[IFLA_LINKINFO], nullptr);
    link.kind = string_of(kind[IFLA_INFO_KIND]);
  }
  return link;
}

std::uint32_t host_order(const nlattr* attribute) { return ntohl(nla_get_u32(attribute)); }

ipv4::Range range_of(std::uint32_t address, int prefix) {
  const std::uint32_t hosts = prefix == 0 ? ~0U : (1U << (32 - prefix)) - 1;
  return {address & ~hosts, prefix};
}

[[noreturn]] void fail(int error, const std::string& action) {
  throw Error(code_of_errno(error), errno_text(action, error), error == EPERM ? "run tare as root" : "");
}

}  // namespace

// ---- Message

Message::Message(int type, int flags, const void* header, std::size_t size, std::string action)
    : message_(nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_ACK | flags)), action_(std::move(action)) {
  if (!message_ || nlmsg_append(message_.get(), const_cast<void*>(header), size, NLMSG_ALIGNTO) < 0) {  // NOLINT: libnl's type
    throw Error(Code::exhausted, action_ + ": out of memory");
  }
}

bool Message::tolerates(int error) const { return std::find(tolerated_.begin(), tolerated_.end(), error) != tolerated_.end(); }

Message& Message::text(int attribute, const std::string& value) & {
  nla_put_string(get(), attribute, value.c_str());
  return *this;
}

Message& Message::number(int attribute, std::uint32_t value) & {
  nla_put_u32(get(), attribute, value);
  return *this;
}

Message& Message::address(int attribute, std::uint32_t value) & { return number(attribute, htonl(value)); }

Message& Message::hardware(int attribute, std::string_view mac) & {
  unsigned octet[6] = {};
  const std::string text(mac);
  if (std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", &octet[0], &octet[1], &octet[2], &octet[3], &octet[4], &octet[5]) != 6) {
    throw Error(Code::internal, action_ + ": '" + text + "' is no MAC address");
  }
  unsigned char bytes[6];
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<unsigned char>(octet[i]);
  nla_put(get(), attribute, sizeof bytes, bytes);
  return *this;
}

// ---- Socket

Fd open_socket() {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) throw_errno("netlink socket");
  const int yes = 1;  // acknowledgements without a copy of the request
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof yes);
  return fd;
}

Socket::Socket() : fd_(open_socket()) {}

void Socket::transmit(const void* data, std::size_t size, const std::string& action) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd_.get(), data, size, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0) throw_errno(action);
}

void Socket::send(const std::vector<Message>& messages) {
  std::vector<char> datagram;
  const std::uint32_t first = sequence_;
  for (const Message& message : messages) {
    nlmsghdr* header = nlmsg_hdr(message.get());
    header->nlmsg_seq = sequence_++;
    const auto* bytes = reinterpret_cast<const char*>(header);
    datagram.insert(datagram.end(), bytes, bytes + header->nlmsg_len);
    datagram.resize(NLMSG_ALIGN(datagram.size()));
  }
  if (messages.empty()) return;
  transmit(datagram.data(), datagram.size(), messages.front().action());
  int failure = 0;
  std::uint32_t failed = 0;
  alignas(nlmsghdr) char buffer[4096];
  for (std::size_t answered = 0; answered < messages.size();) {
    const ssize_t size = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw_errno(messages.front().action());
    auto left = static_cast<unsigned>(size);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR || header->nlmsg_seq < first) continue;
      ++answered;
      const int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
      if (error == 0 || failure != 0 || messages[header->nlmsg_seq - first].tolerates(error)) continue;
      failure = error;
      failed = header->nlmsg_seq - first;
    }
  }
  if (failure != 0) fail(failure, messages[failed].action());
}

template <class Visit>
void Socket::dump(const Message& request, Visit visit) {
  nlmsghdr* asked = nlmsg_hdr(request.get());
  asked->nlmsg_seq = sequence_++;
  transmit(asked, asked->nlmsg_len, request.action());
  std::vector<char> buffer(kBuffer);
  for (;;) {
    const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw_errno(request.action());
    auto left = static_cast<unsigned>(size);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_seq != asked->nlmsg_seq) continue;
      if (header->nlmsg_type == NLMSG_DONE) return;
      if (header->nlmsg_type == NLMSG_ERROR) {
        const int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
        if (error == 0 || request.tolerates(error)) return;
        fail(error, request.action());
      }
      visit(header);
    }
  }
}

std::optional<Link> Socket::find(const std::string& name) {
  Message request(RTM_GETLINK, 0, ifinfomsg{}, "interface " + name);
  request.unless(ENODEV).text(name.size() < IFNAMSIZ ? IFLA_IFNAME : IFLA_ALT_IFNAME, name);
  request.number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  std::optional<Link> found;
  dump(request, [&](nlmsghdr* header) {
    if (header->nlmsg_type == RTM_NEWLINK) found = link_of(header);
  });
  return found;
}

std::vector<Link> Socket::links(std::optional<int> bridge) {
  Message request(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{}, "list interfaces");
  request.number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (bridge) request.number(IFLA_MASTER, static_cast<std::uint32_t>(*bridge));
  std::vector<Link> found;
  dump(request, [&](nlmsghdr* header) { found.push_back(link_of(header)); });
  return found;
}

std::vector<ipv4::Range> Socket::occupied() {
  std::vector<ipv4::Range> ranges;
  ifaddrmsg addresses{};
  addresses.ifa_family = AF_INET;
  dump(Message(RTM_GETADDR, NLM_F_DUMP, addresses, "list addresses"), [&](nlmsghdr* header) {
    nlattr* attributes[IFA_MAX + 1] = {};
    nlmsg_parse(header, sizeof(ifaddrmsg), attributes, IFA_MAX, nullptr);
    const auto* entry = static_cast<const ifaddrmsg*>(nlmsg_data(header));
    if (attributes[IFA_LOCAL] != nullptr) ranges.push_back(range_of(host_order(attributes[IFA_LOCAL]), entry->ifa_prefixlen));
  });
  rtmsg routes{};
  routes.rtm_family = AF_INET;
  dump(Message(RTM_GETROUTE, NLM_F_DUMP, routes, "list routes"), [&](nlmsghdr* header) {
    nlattr* attributes[RTA_MAX + 1] = {};
    nlmsg_parse(header, sizeof(rtmsg), attributes, RTA_MAX, nullptr);
    const auto* entry = static_cast<const rtmsg*>(nlmsg_data(header));
    if (attributes[RTA_DST] != nullptr) ranges.push_back(range_of(host_order(attributes[RTA_DST]), entry->rtm_dst_len));
  });
  return ranges;
}

}  // namespace tare::rtnl
