// SPDX-License-Identifier: Apache-2.0
// The agent that a verb talks to: the one that runs already, or a private one that lives as long as the verb. One code path either way.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "agent/client.h"
#include "core/paths.h"
#include "core/process.h"

namespace tare::agent {

class AgentSession {
 public:
  /// Uses the agent on the default socket, else starts a private one and waits until it answers.
  explicit AgentSession(const Paths& paths, const std::optional<std::filesystem::path>& config = {});
  /// Ends a private agent: its lease goes first, so that it cleans up, and only then, after a grace, its process.
  ~AgentSession();
  AgentSession(const AgentSession&) = delete;
  AgentSession& operator=(const AgentSession&) = delete;

  const Client& client() const { return *client_; }
  bool is_private() const { return child_.has_value(); }
  /// Lets go without waiting: the private agent sees the end of its lease and cleans up alone.
  void abandon();
  /// Waits until a private agent that died is gone: until then the kernel's lists still show it as the owner of its instances.
  void await_end();

 private:
  void start(const Paths& paths, const std::optional<std::filesystem::path>& config);
  void end() noexcept;
  std::filesystem::path directory_;  // the private agent's run directory; it removes it itself, and so do we after a death
  Fd lease_;
  std::optional<Child> child_;
  std::optional<Client> client_;
};

}  // namespace tare::agent
