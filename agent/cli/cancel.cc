// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"

namespace tare::agent::cli {

int cancel(const Options& options, const MakeBackends&) {
  const AgentSession session(Paths::from_environment(), options.config);
  const std::string id = run_id(session.client(), options.run);
  session.client().request("DELETE", "/tare/v1/runs/" + percent_encoded(id));
  note("run " + id + " is being canceled; `tare show " + id + "` shows what it has measured");
  return 0;
}

}  // namespace tare::agent::cli
