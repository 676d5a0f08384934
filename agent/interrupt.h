// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM, or further signals, as a descriptor to poll, for a verb that wants to end in order. Make it before any thread.
#pragma once

#include <csignal>
#include <initializer_list>

#include "core/fd.h"

namespace tare::agent {

class Interrupt {
 public:
  /// From now on these signals no longer end the process.
  explicit Interrupt(std::initializer_list<int> signals = {SIGINT, SIGTERM});
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  int fd() const { return fd_.get(); }
  /// The signal that has arrived, taken off the queue; 0 when none has.
  int take();
  /// The first signal that was taken; 0 when none has been.
  int first() const { return first_; }
  int count() const { return count_; }

 private:
  sigset_t set_{};
  Fd fd_;
  int first_ = 0;
  int count_ = 0;
};

}  // namespace tare::agent
