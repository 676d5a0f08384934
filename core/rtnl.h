// SPDX-License-Identifier: Apache-2.0
// Private to core/: requests to the kernel's routing tables, several in one datagram. Any thread, one at a time for each socket.
#pragma once

#include <netlink/attr.h>
#include <netlink/msg.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "core/ipv4.h"

namespace tare::rtnl {

struct FreeMessage {
  void operator()(nl_msg* message) const noexcept { nlmsg_free(message); }
};

/// One request under construction. Attributes are added with libnl's nla_put_….
class Message {
 public:
  /// `flags` beside NLM_F_REQUEST | NLM_F_ACK; `action` is what a failure is called: "add address 10.214.0.1".
  template <class Header>
  Message(int type, int flags, const Header& header, std::string action)
      : Message(type, flags, &header, sizeof header, std::move(action)) {}
  nl_msg* get() const { return message_.get(); }
  const std::string& action() const { return action_; }
  /// This errno is a success as well: what was to be made is there, or what was to be removed is gone.
  Message& unless(int error) & {
    tolerated_.push_back(error);
    return *this;
  }
  bool tolerates(int error) const;
  Message& text(int attribute, const std::string& value) &;
  Message& number(int attribute, std::uint32_t value) &;
  Message& address(int attribute, std::uint32_t value) &;    // IPv4
  Message& hardware(int attribute, std::string_view mac) &;  // "02:74:0a:d6:00:01"
  /// Adds attributes inside attribute `attribute`.
  template <class Fill>
  Message& nested(int attribute, Fill fill) & {
    nlattr* start = nla_nest_start(get(), attribute);
    fill(*this);
    nla_nest_end(get(), start);
    return *this;
  }

 private:
  Message(int type, int flags, const void* header, std::size_t size, std::string action);
  std::unique_ptr<nl_msg, FreeMessage> message_;
  std::string action_;
  std::vector<int> tolerated_;
};

struct Link {
  int index = 0;
  unsigned flags = 0;  // IFF_UP …
  unsigned mtu = 0;
  int master = 0;  // index of the bridge it belongs to
  std::string name;
  std::string mac;
  std::string alias;
  std::string kind;  // "bridge", "veth", "tun"
};

/// A netlink socket in the network namespace of the calling thread, where it stays.
Fd open_socket();

/// Such a socket and its conversation.
class Socket {
 public:
  Socket();
  explicit Socket(Fd made_there) : fd_(std::move(made_there)) {}
  /// Sends all in one datagram. The kernel tries each, whatever became of those before; throws Error for the first that failed.
  void send(const std::vector<Message>& messages);
  /// By its name or an alternative one; nothing when there is none.
  std::optional<Link> find(const std::string& name);
  /// All interfaces, or the members of the bridge with this index.
  std::vector<Link> links(std::optional<int> bridge = std::nullopt);
  /// Every range that an address or a route of this host occupies, the default route apart.
  std::vector<ipv4::Range> occupied();

 private:
  template <class Visit>
  void dump(const Message& request, Visit visit);
  void transmit(const void* data, std::size_t size, const std::string& action);
  Fd fd_;
  std::uint32_t sequence_ = 1;
};

}  // namespace tare::rtnl
