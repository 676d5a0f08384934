// SPDX-License-Identifier: Apache-2.0
#include "core/offloads.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "core/fd.h"

namespace tare {
namespace {

class Interface {
 public:
  explicit Interface(const std::string& name) : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), name_(name) {
    if (!socket_) throw_errno("socket");
    std::strncpy(request_.ifr_name, name.c_str(), sizeof request_.ifr_name - 1);
  }
  unsigned mtu() {
    if (::ioctl(socket_.get(), SIOCGIFMTU, &request_) != 0) throw_errno("interface " + name_);
    return static_cast<unsigned>(request_.ifr_mtu);
  }
  bool ask(std::uint32_t command) { return exchange({command, 0}) != 0; }
  void set(std::uint32_t command, bool on) { exchange({command, on ? 1U : 0U}); }

 private:
  std::uint32_t exchange(ethtool_value value) {
    request_.ifr_data = reinterpret_cast<char*>(&value);
    if (::ioctl(socket_.get(), SIOCETHTOOL, &request_) != 0) throw_errno("offloads of " + name_);
    return value.data;
  }
  Fd socket_;
  std::string name_;
  ifreq request_{};
};

}  // namespace

Offloads offloads_of(const std::string& name) {
  Interface interface(name);
  Offloads found;
  found.mtu = interface.mtu();
  found.transmit_checksum = interface.ask(ETHTOOL_GTXCSUM);
  found.scatter_gather = interface.ask(ETHTOOL_GSG);
  found.tcp_segmentation = interface.ask(ETHTOOL_GTSO);
  found.generic_segmentation = interface.ask(ETHTOOL_GGSO);
  found.generic_receive = interface.ask(ETHTOOL_GGRO);
  return found;
}

std::string text_of(const Offloads& offloads) {
  std::string text;
  const auto add = [&](bool on, const char* word) {
    if (on) text += (text.empty() ? "" : ",") + std::string(word);
  };
  add(offloads.transmit_checksum, "tx-checksum");
  add(offloads.scatter_gather, "scatter-gather");
  add(offloads.tcp_segmentation, "tso");
  add(offloads.generic_segmentation, "gso");
  add(offloads.generic_receive, "gro");
  return text.empty() ? "none" : text;
}

void set_generic_receive(const std::string& name, bool on) { Interface(name).set(ETHTOOL_SGRO, on); }

}  // namespace tare
