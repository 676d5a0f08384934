// SPDX-License-Identifier: Apache-2.0
// `tare exec`: a further process in a running instance; ends with its exit code.
#include <unistd.h>

#include <boost/json.hpp>

#include "agent/cli/frame_output.h"
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"

namespace tare::agent::cli {

int exec(const Options& options, const MakeBackends&) {
  Interrupt interrupt;
  const AgentSession session(Paths::from_environment(), options.config);
  const std::string& name = options.instances.at(0);
  boost::json::array command;
  for (const std::string& word : options.instance_run.command) command.emplace_back(word);
  const std::string body = boost::json::serialize(boost::json::object{{"command", std::move(command)}});
  Client::Opened stream = session.client().open("POST", "/tare/v1/instances/" + percent_encoded(name) + "/exec", body);
  return status_of(write_frames(stream, interrupt, [](int number) { ::_exit(128 + number); }), name);
}

}  // namespace tare::agent::cli
