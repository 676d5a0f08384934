// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "agent/cli/verbs.h"
#include "agent/private_agent.h"

namespace tare::agent::cli {

int show(const Options& options, const MakeBackends&) {
  const AgentSession session(Paths::from_environment(), options.config);
  const Client& client = session.client();
  const std::string base = "/tare/v1/runs/" + percent_encoded(run_id(client, options.run));
  if (options.csv) {
    print(client.get(base + "/samples"));
  } else if (options.json) {
    print(client.get(base + "/result"));
  } else {
    const std::string colour = wants_colour(STDOUT_FILENO) ? "1" : "0";
    print(client.get(base + "/result?format=table&width=" + std::to_string(terminal_width(STDOUT_FILENO)) + "&colour=" + colour));
  }
  return 0;
}

}  // namespace tare::agent::cli
