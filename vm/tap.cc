// SPDX-License-Identifier: Apache-2.0
#include "vm/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/fd.h"
#include "core/files.h"
#include "core/link_removal.h"

namespace tare::vm {
namespace {

ifreq request(const std::string& name) {
  ifreq out{};
  std::strncpy(out.ifr_name, name.c_str(), sizeof out.ifr_name - 1);
  return out;
}

std::array<unsigned char, 6> octets(const std::string& mac) {
  std::array<unsigned, 6> parsed{};
  if (std::sscanf(mac.c_str(), "%x:%x:%x:%x:%x:%x", &parsed[0], &parsed[1], &parsed[2], &parsed[3], &parsed[4], &parsed[5]) != 6) {
    throw Error(Code::internal, "'" + mac + "' is no MAC address");
  }
  std::array<unsigned char, 6> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>(parsed[i]);
  return out;
}

}  // namespace

Tap::Tap(std::string name) : name_(std::move(name)) {
  const Fd tun = open_file("/dev/net/tun", O_RDWR);
  ifreq interface = request(name_);
  // With the header that virtio-net uses, so that QEMU may pass checksum offload through.
  interface.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tun.get(), TUNSETIFF, &interface) != 0) throw_errno("make tap interface " + std::exchange(name_, {}));
  if (::ioctl(tun.get(), TUNSETPERSIST, 1) != 0) throw_errno("keep tap interface " + std::exchange(name_, {}));
}

Tap Tap::adopt(std::string name) {
  Tap tap;
  tap.name_ = std::move(name);
  return tap;
}

Tap::~Tap() {
  try {
    remove();
  } catch (const Error&) {  // recovery finds it by its name
  }
}

void Tap::remove() {
  if (name_.empty()) return;
  rtnl::remove_links({name_});
  name_.clear();
}

std::string Tap::mac() const {
  std::string text = read_file("/sys/class/net/" + name_ + "/address");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void Tap::set_neighbour(const std::string& address, const std::string& mac) const {
  arpreq entry{};
  sockaddr_in protocol{};
  protocol.sin_family = AF_INET;
  if (::inet_pton(AF_INET, address.c_str(), &protocol.sin_addr) != 1) throw Error(Code::internal, "'" + address + "' is no address");
  std::memcpy(&entry.arp_pa, &protocol, sizeof protocol);
  entry.arp_ha.sa_family = ARPHRD_ETHER;
  const auto hardware = octets(mac);
  std::memcpy(entry.arp_ha.sa_data, hardware.data(), hardware.size());
  entry.arp_flags = ATF_COM | ATF_PERM;
  std::strncpy(entry.arp_dev, name_.c_str(), sizeof entry.arp_dev - 1);
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (::ioctl(socket.get(), SIOCSARP, &entry) != 0) throw_errno("neighbour entry for " + address + " on " + name_);
}

}  // namespace tare::vm
