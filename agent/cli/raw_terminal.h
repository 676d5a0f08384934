// SPDX-License-Identifier: Apache-2.0
// Our own terminal while a workload has it: every key goes through as it is.
#pragma once

#include <termios.h>

#include <optional>
#include <string>
#include <string_view>

#include "core/streams.h"

namespace tare::agent::cli {

/// Raw as long as it lives. The keys that would be signals to us are bytes then.
class RawTerminal {
 public:
  /// Throws Error when `fd` is no terminal.
  explicit RawTerminal(int fd);
  ~RawTerminal() { restore(); }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  void restore() noexcept;

 private:
  int fd_;
  termios before_{};
};

/// Of the terminal at `fd`; nothing when it is none.
std::optional<TerminalSize> terminal_size(int fd);

/// Finds control-p control-q, Docker's keys for leaving, in what is typed. Pure.
class DetachKeys {
 public:
  /// What goes on to the workload: a control-p is held back until it is known what follows. Nothing goes after the keys.
  std::string pass(std::string_view typed);
  bool pressed() const { return pressed_; }

 private:
  bool held_ = false;
  bool pressed_ = false;
};

}  // namespace tare::agent::cli
