// SPDX-License-Identifier: Apache-2.0
// `tare rm`: removes instances that have ended, with --force also those that run.
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"

namespace tare::agent::cli {

int rm(const Options& options, const MakeBackends&) {
  const AgentSession session(Paths::from_environment(), options.config);
  for (const std::string& name : options.instances) {
    session.client().request("DELETE", "/tare/v1/instances/" + percent_encoded(name) + (options.force ? "?force=1" : ""));
    print(name + "\n");
  }
  return 0;
}

}  // namespace tare::agent::cli
