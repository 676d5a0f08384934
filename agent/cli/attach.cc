// SPDX-License-Identifier: Apache-2.0
// `tare attach`: to an instance that runs, which goes on when we leave it; ends with its exit code.
#include <boost/json.hpp>

#include "agent/cli/session.h"
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"
#include "agent/wire.h"

namespace tare::agent::cli {

int attach(const Options& options, const MakeBackends&) {
  const std::string& name = options.instances.at(0);
  const std::string target = "/tare/v1/instances/" + percent_encoded(name);
  Interrupt interrupt = AttachedSession::signals();
  const AgentSession session(Paths::from_environment(), options.config);
  const boost::json::value instance = parse_json(session.client().get(target));
  const bool tty = instance.at("tty").as_bool();
  const bool input = !options.no_stdin && instance.at("stdin").as_bool();
  AttachedSession attached({.input = input, .tty = tty, .may_leave = true}, interrupt, [] {});
  Client::Opened stream = session.client().open("POST", target + "/attach");
  if (const auto size = terminal_size(STDOUT_FILENO); tty && size) {
    session.client().request("POST", target + "/resize?rows=" + std::to_string(size->rows) + "&columns=" + std::to_string(size->columns));
  }
  return status_of(attached.run(std::move(stream)), name);
}

}  // namespace tare::agent::cli
