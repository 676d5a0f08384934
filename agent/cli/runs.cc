// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "agent/cli/verbs.h"
#include "agent/private_agent.h"
#include "agent/wire.h"

namespace tare::agent::cli {

int runs(const Options& options, const MakeBackends&) {
  const AgentSession session(Paths::from_environment(), options.config);
  const std::string body = session.client().get("/tare/v1/runs");
  if (options.json) {
    print(body);
    return 0;
  }
  const auto answer = parse_json(body);
  const auto& list = answer.at("runs").as_array();
  if (list.empty()) {
    note("no run is stored; `tare bench quickstart` makes one");
    return 0;
  }
  std::string out = fmt::format("{:<22} {:<20} {:<20} {:<12} {}\n", "RUN", "STARTED", "SUITE", "STATE", "TRIALS");
  for (const auto& run : list) {
    out += fmt::format("{:<22} {:<20} {:<20} {:<12} {}/{}\n", text_at(run, "id"), text_at(run, "started_at"), text_at(run, "suite"),
                       text_at(run, "state"), static_cast<int>(number_at(run, "completed")), static_cast<int>(number_at(run, "planned")));
  }
  print(out);
  return 0;
}

}  // namespace tare::agent::cli
