// SPDX-License-Identifier: Apache-2.0
// Which ids of the host a container with a user namespace has for its own. Each such instance gets 65536 that no other one has, of any
// agent of this host: ranges from 0x70000000 on, behind those that systemd and useradd give out and before systemd's own at 0x7ffe0000.
//
// A claim is a symbolic link <claims>/<first id> to the instance's directory: it appears whole or not at all, and it is void once that
// directory is gone. So it needs no agent to be alive, and what a crash leaves can be found. Any thread, any process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <utility>

namespace tare {

constexpr std::uint32_t kIdsEach = 65536;
constexpr std::uint32_t kFirstRange = 0x70000000;
constexpr std::uint32_t kEndOfRanges = 0x7ffe0000;

/// A claim; given up when its owner dies, which has to be before the instance's directory goes.
class IdRange {
 public:
  /// A range that nobody has. `instance` is the instance's directory, an absolute path. Throws Error(unavailable) when all are taken.
  static IdRange claim(const std::filesystem::path& claims, const std::filesystem::path& instance);
  /// The claim of a dead agent's instance, ours from now on.
  static IdRange adopt(const std::filesystem::path& claims, std::uint32_t first);
  /// Removes the void ones.
  static void tidy(const std::filesystem::path& claims);

  IdRange(IdRange&& other) noexcept : link_(std::exchange(other.link_, {})), first_(other.first_) {}
  IdRange& operator=(IdRange other) noexcept {
    std::swap(link_, other.link_);
    std::swap(first_, other.first_);
    return *this;
  }
  ~IdRange();

  /// The host's id of the instance's user 0.
  std::uint32_t first() const { return first_; }
  /// It stays when its owner dies.
  void leave() noexcept { link_.clear(); }

 private:
  IdRange(std::filesystem::path link, std::uint32_t first) : link_(std::move(link)), first_(first) {}
  std::filesystem::path link_;
  std::uint32_t first_;
};

}  // namespace tare
