// SPDX-License-Identifier: Apache-2.0
// The bridge `tare0`: a network that instances of all kinds join, containers by a veth pair and VMs by a tap, with addresses, a way out
// and published ports. It is made when the first instance joins and removed when the last one leaves (or the agent that keeps it ends),
// with its table of the packet filter and the settings of the host that it changed. Who owns what is read from the kernel's own objects:
// the bridge's and each member's alias; there is no file to be wrong after a crash. Any thread; needs CAP_NET_ADMIN.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/fd.h"
#include "core/workload.h"

namespace tare::rtnl {
class Socket;
}

namespace tare::bridge {

constexpr const char* kName = "tare0";
constexpr unsigned kMtu = 1500;

struct Settings {
  std::string range;                // "10.214.0.0/16"; empty: that one, or the next /16 that is free on this host
  std::filesystem::path lock_file;  // Paths::network_lock()
  bool keep = false;                // the bridge outlives its last member: whoever sets this calls tidy() at the end
};

/// Makes the bridge where there is none: with `keep` this belongs to no start. Throws Error(conflict) for a range that is in use.
void prepare(const Settings& settings);

/// A network namespace, and a netlink socket that was made in it.
struct Namespace {
  Fd fd;
  Fd socket;
  /// A new one with loopback up and IPv6 off on all that will join it, so that no address waits to be found unique.
  static Namespace make();
  /// The same of one that was made already, and that may belong to a user namespace.
  static Namespace in(Fd fd);
};

/// The place of one instance on the bridge.
struct Place {
  std::string instance;
  std::string interface;  // the host's side: of its veth pair, or its tap
  std::string address;    // "10.214.7.9"
  int prefix = 16;
  std::string mac;  // of the instance's side
  std::string gateway;
  std::string gateway_mac;
};

/// For Instance::protections(), read as it is now: {"network": "bridge tare0, 10.214.7.9/16", "mtu": "1500", "offloads": "tx-checksum,…"}.
std::map<std::string, std::string> description(const Place& place);

/// Leaves when its owner dies. Not thread-safe.
class Member {
 public:
  /// Makes a veth pair whose inner end, eth0 in `inside`, is up with address, default route and the gateway's neighbour entry.
  static Member by_veth(const Settings& settings, const std::string& instance_id, const Namespace& inside);
  /// The existing interface `tap` joins; the guest is to be told its place.
  static Member by_tap(const Settings& settings, const std::string& instance_id, const std::string& tap);
  /// The member that an earlier agent left, by its interface; nothing when there is none.
  static std::optional<Member> find(const Settings& settings, const std::string& instance_id);

  Member(Member&& other) noexcept
      : settings_(std::move(other.settings_)), place_(std::exchange(other.place_, {})), published_(std::exchange(other.published_, {})) {}
  Member& operator=(Member other) noexcept;
  ~Member();

  const Place& place() const { return place_; }
  /// TCP ports of all addresses of this host, loopback included, lead to it from now on: all of them, or none and an Error(conflict) that
  /// names the instance which has the port.
  void publish(const std::vector<Publish>& ports);
  /// Its interface, address and ports are gone then; with the last member the bridge, where it is not kept. Throws Error naming what
  /// stayed; idempotent.
  void remove();
  /// It stays when its owner dies: the next agent's find() has it.
  void leave_behind() noexcept { place_ = {}; }

 private:
  bool remove_as_last(rtnl::Socket& socket) const;  // false when others are there
  void unpublish_all();
  Member(Settings settings, Place place) : settings_(std::move(settings)), place_(std::move(place)) {}
  Settings settings_;
  Place place_;                           // without an instance: moved from, or removed
  std::vector<std::uint16_t> published_;  // ports of the host
};

/// Removes what crashes left: ports that lead to no instance, and the bridge when nobody is on it.
void tidy(const Settings& settings);

/// Who keeps the bridge: its end removes an empty one.
class Keeper {
 public:
  explicit Keeper(Settings settings) : settings_(std::move(settings)) {}
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;
  ~Keeper();

 private:
  Settings settings_;
};

/// What the host has of it, for `tare doctor`: nothing when there is no bridge, else its range, its members and what was changed.
struct Standing {
  std::string range;
  std::size_t members = 0;
  bool forwarded = false;  // the host forwarded packets before
};
std::optional<Standing> standing();

}  // namespace tare::bridge
