// SPDX-License-Identifier: Apache-2.0
// What the workload wrote and its agent has not acknowledged yet: an agent that died took with it what it had not read, and the next one
// gets it again. Fixed memory, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tare::guest {

/// Positions count the bytes of both streams together. Bytes are added, sent, and forgotten when they are acknowledged, or when the memory
/// is full and the oldest are sent.
class Retained {
 public:
  /// Twice the window of an output: only what its pipes still held at a process' end can be more.
  static constexpr std::size_t kCapacity = 512 * 1024;
  /// Changes from one stream to the other, of which so many are remembered.
  static constexpr std::size_t kMostRuns = 4096;

  struct Piece {
    std::uint8_t stream = 0;
    std::string_view bytes;
  };

  /// How many bytes can be added now.
  std::size_t room() const noexcept;
  /// Not more than room().
  void add(std::uint8_t stream, std::string_view bytes) noexcept;
  /// True while something is not sent.
  bool waits() const noexcept { return sent_ < end_; }
  /// What is to be sent next, up to `most` bytes of one stream; empty when nothing waits. Valid until add().
  Piece next(std::size_t most) const noexcept;
  void sent(std::size_t count) noexcept { sent_ += count; }
  /// The host has all before `position`.
  void acknowledge(std::uint64_t position) noexcept;
  /// All from `position` on is to be sent again; where that begins: later where it is not remembered.
  std::uint64_t rewind(std::uint64_t position) noexcept;

 private:
  struct Run {
    std::uint64_t end = 0;
    std::uint8_t stream = 0;
  };
  const Run& run(std::size_t index) const noexcept { return runs_[(first_run_ + index) % kMostRuns]; }
  void forget_to(std::uint64_t position) noexcept;

  char bytes_[kCapacity];
  Run runs_[kMostRuns];
  std::size_t first_run_ = 0;
  std::size_t run_count_ = 0;
  std::uint64_t begin_ = 0;  // the oldest that is remembered
  std::uint64_t sent_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace tare::guest
