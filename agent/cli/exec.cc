// SPDX-License-Identifier: Apache-2.0
// `tare exec`: a further process in a running instance; ends with its exit code.
#include <unistd.h>

#include "agent/cli/run_body.h"
#include "agent/cli/session.h"
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"

namespace tare::agent::cli {

int exec(const Options& options, const MakeBackends&) {
  const RunOptions& wanted = options.instance_run;
  const std::string& name = options.instances.at(0);
  const std::string body = exec_body(wanted, terminal_size(STDOUT_FILENO));
  Interrupt interrupt = AttachedSession::signals();
  const AgentSession session(Paths::from_environment(), options.config);
  AttachedSession attached({.input = wanted.interactive, .tty = wanted.tty, .may_leave = false}, interrupt, [] {});
  return status_of(attached.run(session.client().open("POST", "/tare/v1/instances/" + percent_encoded(name) + "/exec", body)), name);
}

}  // namespace tare::agent::cli
