// SPDX-License-Identifier: Apache-2.0
// The agent as a verb sees it: requests over its unix socket, and the stream of a run's events. One thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/events.h"
#include "agent/interrupt.h"
#include "core/fd.h"
#include "core/units.h"

namespace tare::agent {

struct Reply {
  int status = 0;
  std::string body;
};

/// The agent ended while it was being asked.
struct AgentGone {};

class Client {
 public:
  explicit Client(std::filesystem::path socket) : socket_(std::move(socket)) {}
  /// True when an agent answers on the socket.
  bool answers() const;
  /// The body of an answer of 2xx. Throws the Error that the agent answered with, Error(unavailable) when there is no agent.
  std::string get(const std::string& target) const;
  std::string request(const std::string& method, const std::string& target, const std::string& body = {}) const;
  /// A request whose connection stays open in the result: while it lives, so does the lease.
  struct Held {
    Fd connection;
    std::string body;
  };
  Held request_and_hold(const std::string& method, const std::string& target, const std::string& body) const;

  /// A request that is answered with a stream (200 or 101). Throws the Error that the agent answered with instead.
  struct Opened {
    Fd connection;
    std::string received;  // what has come of the stream already
  };
  Opened open(const std::string& method, const std::string& target, const std::string& body = {}) const;

  /// Calls `on_message` for each message until it returns false. `on_interrupt` is called when a signal arrives. Throws AgentGone when the
  /// stream ends before `on_message` said so.
  void events(const std::string& target, Interrupt& interrupt, const std::function<bool(const SseParser::Message&)>& on_message,
              const std::function<void()>& on_interrupt) const;

 private:
  Fd connect() const;
  std::filesystem::path socket_;
};

/// "a b/ü" → "a%20b%2F…": one value of a query.
std::string percent_encoded(const std::string& text);

}  // namespace tare::agent
