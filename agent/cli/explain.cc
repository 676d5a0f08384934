// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "agent/cli/verbs.h"
#include "agent/private_agent.h"

namespace tare::agent::cli {

int explain(const Options& options, const MakeBackends&) {
  const AgentSession session(Paths::from_environment(), options.config);
  const Client& client = session.client();
  const std::string form = options.json ? "json" : "text&width=" + std::to_string(terminal_width(STDOUT_FILENO));
  print(client.get("/tare/v1/runs/" + percent_encoded(run_id(client, options.run)) + "/explanation?format=" + form));
  return 0;
}

}  // namespace tare::agent::cli
