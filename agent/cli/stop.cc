// SPDX-License-Identifier: Apache-2.0
// `tare stop`: SIGTERM and, after the grace, SIGKILL to the whole tree; the instance stays, with its log and exit code.
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"

namespace tare::agent::cli {

int stop(const Options& options, const MakeBackends&) {
  const AgentSession session(Paths::from_environment(), options.config);
  const std::string query = options.grace.empty() ? "" : "?grace=" + percent_encoded(options.grace);
  for (const std::string& name : options.instances) {
    session.client().request("POST", "/tare/v1/instances/" + percent_encoded(name) + "/stop" + query);
    print(name + "\n");
  }
  return 0;
}

}  // namespace tare::agent::cli
