// SPDX-License-Identifier: Apache-2.0
#include "guest/network.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tare::guest::network {
namespace {

struct Socket {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ~Socket() { close(fd); }
};

void set(sockaddr& to, in_addr_t address) noexcept {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = address;
  std::memcpy(&to, &in, sizeof in);
}

ifreq request(const char* interface) noexcept {
  ifreq out{};
  std::strncpy(out.ifr_name, interface, sizeof out.ifr_name - 1);
  return out;
}

bool set_up(int fd, const char* interface) noexcept {
  ifreq up = request(interface);
  up.ifr_flags = IFF_UP | IFF_RUNNING;
  return ioctl(fd, SIOCSIFFLAGS, &up) == 0;
}

// A string_view of at most 63 characters as the C string that inet_pton wants.
struct Text {
  explicit Text(std::string_view text) noexcept { std::memcpy(bytes, text.data(), text.size() < 63 ? text.size() : 63); }
  char bytes[64] = {};
};

bool read_mac(const char* mac, sockaddr& to) noexcept {
  unsigned octet[6];
  if (std::sscanf(mac, "%x:%x:%x:%x:%x:%x", &octet[0], &octet[1], &octet[2], &octet[3], &octet[4], &octet[5]) != 6) {
    errno = EINVAL;
    return false;
  }
  to.sa_family = ARPHRD_ETHER;
  for (int i = 0; i < 6; ++i) to.sa_data[i] = static_cast<char>(octet[i]);
  return true;
}

bool set_neighbour(int fd, in_addr_t address, const char* mac) noexcept {
  arpreq entry{};
  set(entry.arp_pa, address);
  entry.arp_flags = ATF_COM | ATF_PERM;
  std::strcpy(entry.arp_dev, "eth0");
  return read_mac(mac, entry.arp_ha) && ioctl(fd, SIOCSARP, &entry) == 0;
}

}  // namespace

const char* set_loopback_up() noexcept {
  const Socket socket;
  return set_up(socket.fd, "lo") ? nullptr : "set up of loopback";
}

const char* leave() noexcept {
  const Socket socket;
  ifreq down = request("eth0");
  return ioctl(socket.fd, SIOCSIFFLAGS, &down) == 0 || errno == ENODEV ? nullptr : "set down of eth0";
}

const char* set_mac(std::string_view mac) noexcept {
  const Socket socket;
  ifreq interface = request("eth0");
  return read_mac(Text(mac).bytes, interface.ifr_hwaddr) && ioctl(socket.fd, SIOCSIFHWADDR, &interface) == 0 ? nullptr : "MAC of eth0";
}

const char* configure(std::string_view address, std::string_view gateway, std::string_view gateway_mac) noexcept {
  const Socket socket;
  const std::size_t slash = address.find('/');
  const Text ip(address.substr(0, slash)), via(gateway), mac(gateway_mac);
  const int prefix = slash == std::string_view::npos ? 32 : std::atoi(Text(address.substr(slash + 1)).bytes);
  in_addr own{}, router{};
  errno = EINVAL;
  if (prefix < 1 || prefix > 32) return "read of the network prefix";
  if (inet_pton(AF_INET, ip.bytes, &own) != 1 || inet_pton(AF_INET, via.bytes, &router) != 1) return "read of the network address";

  ifreq interface = request("eth0");
  set(interface.ifr_addr, own.s_addr);
  if (ioctl(socket.fd, SIOCSIFADDR, &interface) != 0) return "address of eth0";
  set(interface.ifr_netmask, htonl(~0U << (32 - prefix)));
  if (ioctl(socket.fd, SIOCSIFNETMASK, &interface) != 0) return "netmask of eth0";
  if (!set_up(socket.fd, "eth0")) return "set up of eth0";

  rtentry route{};
  set(route.rt_dst, INADDR_ANY);
  set(route.rt_genmask, INADDR_ANY);
  set(route.rt_gateway, router.s_addr);
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  if (ioctl(socket.fd, SIOCADDRT, &route) != 0) return "default route";
  if (*mac.bytes != '\0' && !set_neighbour(socket.fd, router.s_addr, mac.bytes)) return "neighbour entry of the host";
  return nullptr;
}

}  // namespace tare::guest::network
