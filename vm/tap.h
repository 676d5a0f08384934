// SPDX-License-Identifier: Apache-2.0
// The host's end of a guest's network link. Any thread; needs CAP_NET_ADMIN.
#pragma once

#include <string>
#include <utility>

namespace tare::vm {

/// A persistent tap interface, removed when its owner dies.
class Tap {
 public:
  /// Throws Error naming the interface.
  explicit Tap(std::string name);
  /// The one that an earlier agent left.
  static Tap adopt(std::string name);
  Tap(Tap&& other) noexcept : name_(std::exchange(other.name_, {})) {}
  Tap& operator=(Tap other) noexcept {
    std::swap(name_, other.name_);
    return *this;
  }
  ~Tap();
  const std::string& name() const { return name_; }
  /// Its own MAC address, "52:54:…".
  std::string mac() const;
  /// A permanent neighbour entry, so that the first packet to the guest waits for no ARP.
  void set_neighbour(const std::string& address, const std::string& mac) const;
  /// Removes it. Throws Error when that fails.
  void remove();
  /// It stays when its owner dies.
  void leave() noexcept { name_.clear(); }

 private:
  Tap() = default;
  std::string name_;
};

}  // namespace tare::vm
