// SPDX-License-Identifier: Apache-2.0
// A process to be started, as the host describes it frame by frame. Fixed memory; one thread; pure.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/protocol.h"

namespace tare::guest {

class Command {
 public:
  void add_argument(std::string_view text) noexcept { add(arguments_, text); }
  void add_environment(std::string_view text) noexcept { add(environment_, text); }
  void set_program(std::string_view path) noexcept { program_ = keep(path); }
  void set_directory(std::string_view path) noexcept { directory_ = keep(path); }
  void add_group(const Group& group) noexcept;
  void add_limit(const Limit& limit) noexcept;
  /// Forgets all: the next one is described.
  void clear() noexcept;

  /// Nothing was left out for want of room, and there is something to run.
  bool complete() const noexcept { return !overflow_ && arguments_.count > 0; }
  /// With a nullptr behind the last one, as execve(2) has them.
  char* const* arguments() const noexcept { return arguments_.items; }
  char* const* environment() const noexcept { return environment_.items; }
  /// nullptr: argv[0] is to be looked up in PATH.
  const char* program() const noexcept { return program_; }
  /// nullptr: it stays where it is. Whoever makes the directory may change the text for a moment.
  char* directory() const noexcept { return directory_; }
  std::span<const gid_t> groups() const noexcept { return {groups_, group_count_}; }
  std::span<const Limit> limits() const noexcept { return {limits_, limit_count_}; }

 private:
  static constexpr std::size_t kArena = 3 << 20;  // execve takes a quarter of the stack's limit at most, 2 MiB
  static constexpr std::size_t kMostStrings = 8192;
  static constexpr std::size_t kMostGroups = 1024;
  static constexpr std::size_t kMostLimits = 16;  // RLIM_NLIMITS

  struct Strings {
    char* items[kMostStrings] = {};
    std::size_t count = 0;
  };
  char* keep(std::string_view text) noexcept;
  void add(Strings& strings, std::string_view text) noexcept;

  char arena_[kArena] = {};
  std::size_t used_ = 0;
  bool overflow_ = false;
  Strings arguments_, environment_;
  char* program_ = nullptr;
  char* directory_ = nullptr;
  gid_t groups_[kMostGroups] = {};
  std::size_t group_count_ = 0;
  Limit limits_[kMostLimits] = {};
  std::size_t limit_count_ = 0;
};

}  // namespace tare::guest
