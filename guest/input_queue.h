// SPDX-License-Identifier: Apache-2.0
// What came for a process' stdin and is not written yet: the process may take its time, tare-init does not wait. Fixed memory, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/protocol.h"

namespace tare::guest {

class InputQueue {
 public:
  InputQueue() = default;  // closed: it drops what comes
  InputQueue(const InputQueue&) = delete;
  InputQueue& operator=(const InputQueue&) = delete;
  /// The window, and the end-of-file characters of a terminal.
  static constexpr std::size_t kCapacity = kInputWindow + 2;
  /// From now on into `fd`, non-blocking and ours: a pipe, or with `terminal` the master of a terminal. `buffer` is the caller's.
  void begin(int fd, bool terminal, std::span<char, kCapacity> buffer) noexcept;

  /// False, and nothing is taken, when more than kInputWindow bytes would wait: who sends that does not keep to the protocol.
  bool push(std::string_view bytes) noexcept;
  /// Nothing will follow.
  void end() noexcept { ended_ = open(); }
  /// Writes what the process takes now, and after the last byte the end: the pipe is closed, the terminal gets its end-of-file character.
  void write() noexcept;
  /// True while write() should be called when fd() takes more.
  bool waits() const noexcept { return fd_ >= 0 && (size_ > 0 || ended_); }
  /// Nobody reads any more.
  void close() noexcept;

  int fd() const noexcept { return fd_; }
  /// False: what comes is dropped.
  bool open() const noexcept { return fd_ >= 0 && !ended_; }
  std::uint64_t received() const noexcept { return received_; }
  std::uint64_t taken() const noexcept { return received_ - (size_ < received_ ? size_ : received_); }

 private:
  void finish() noexcept;

  int fd_ = -1;
  bool terminal_ = false;
  char* pending_ = nullptr;
  std::size_t size_ = 0;
  std::uint64_t received_ = 0;
  bool ended_ = false;
  bool in_line_ = false;  // the last byte was no newline
};

}  // namespace tare::guest
