// SPDX-License-Identifier: Apache-2.0
// A process that we are attached to, until it ends or we leave it: what it writes goes to stdout and stderr, what is typed or piped goes to
// it, our window's size and our signals too. One thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/cli/raw_terminal.h"
#include "agent/client.h"
#include "agent/frames.h"
#include "agent/interrupt.h"

namespace tare::agent::cli {

class AttachedSession {
 public:
  struct Options {
    bool input = false;     // our stdin is its stdin
    bool tty = false;       // it has a terminal
    bool may_leave = true;  // control-p control-q leaves it running
  };
  /// The signals that a session handles; made before anything is there that one should end in order.
  static Interrupt signals();

  /// Takes our terminal, if both of the options are set, and gives it back in its destructor. `leave` is called before the process ends
  /// because of too many signals. Throws Error(usage) when stdin is no terminal.
  AttachedSession(const Options& options, Interrupt& interrupt, std::function<void()> leave);
  ~AttachedSession() = default;
  AttachedSession(const AttachedSession&) = delete;
  AttachedSession& operator=(const AttachedSession&) = delete;

  /// Returns the JSON of the last control frame, "" when there was none. Throws Error when stdout is closed or full.
  std::string run(Client::Opened stream);

 private:
  void show(std::string_view bytes);
  void handle_signal();
  void read_input();
  void send_some(int connection);
  void receive(int connection);

  const Options options_;
  Interrupt& interrupt_;
  const std::function<void()> leave_;
  std::optional<RawTerminal> raw_;
  DetachKeys keys_;
  FrameParser parser_;
  std::string control_;
  std::string outgoing_;
  bool reads_;  // our stdin
  bool over_ = false;
  int patience_ = 3;  // so many signals, and we leave; the lease ends with us
};

/// The exit code that {"exit": …} tells, with its sentence on stderr after `who`; 0 for {"detached"}. Throws the Error of an {"error": …},
/// and Error(failed) when the stream ended without either.
int status_of(const std::string& control, const std::string& who);

}  // namespace tare::agent::cli
