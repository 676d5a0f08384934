// SPDX-License-Identifier: Apache-2.0
// An answer that goes on after its head, and may listen to its client: a log that is followed, a workload that is attached, a wait.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace tare::agent {

/// The server calls it from one thread; no call may block. What it gives is sent as it is, and the connection ends with it.
class Source {
 public:
  virtual ~Source() = default;
  /// Status line and headers, with the empty line.
  virtual std::string head() = 0;
  /// What is to be sent now; empty when there is nothing new.
  virtual std::string next() = 0;
  /// True when no next() will give anything any more.
  virtual bool ended() const = 0;
  /// `wake` may be called from any thread when next() has something new or the end has come; an empty one ends the calls.
  virtual void on_change(std::function<void()> wake) = 0;
  /// Bytes that the client sent after its request.
  virtual void input(std::string_view bytes) = 0;
  /// False while it cannot keep more of them: the server reads nothing then, until `wake`.
  virtual bool takes_input() { return true; }
  /// The client will send nothing more. True when it may still read, as Docker's does; false when that means that it is gone.
  virtual bool input_ended() { return false; }
  /// The connection is gone, whoever ended it.
  virtual void closed() = 0;
};

}  // namespace tare::agent
