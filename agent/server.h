// SPDX-License-Identifier: Apache-2.0
// The transport: HTTP/1.1 on a unix socket and, if asked for, on a TCP port, as coroutines on one thread; handlers run on four more, so
// that a slow one (a first probe) holds up nobody. The only user of Boost.Beast on the agent's side.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "agent/api.h"
#include "agent/events.h"

namespace tare::agent {

struct ServerOptions {
  std::filesystem::path socket;
  std::optional<std::uint16_t> tcp_port;  // 0: any free one
  std::string tcp_address = "127.0.0.1";
  int event_streams = 8;
  int lease_fd = -1;  // the server ends when this descriptor reads its end: whoever started the agent is gone
};

class Server {
 public:
  /// Binds and listens. Throws Error(conflict) when another agent answers on the socket, or the port is in use.
  Server(const ServerOptions& options, Api& api, Store& store, Runs& runs, EventHub& hub, Metrics& metrics);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Serves until SIGINT, SIGTERM or the end of the lease.
  void run();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace tare::agent
