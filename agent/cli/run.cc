// SPDX-License-Identifier: Apache-2.0
// `tare run`: starts a workload, is attached to it, and ends with its exit code.
#include <unistd.h>

#include "agent/cli/run_body.h"
#include "agent/cli/session.h"
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"
#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent::cli {
namespace {

int run_detached(const AgentSession& session, const std::string& body) {
  if (session.is_private()) {
    throw Error(Code::unavailable, "a detached workload needs an agent that stays, and none is running", "start one with `tare agent`");
  }
  print(text_at(parse_json(session.client().request("POST", "/tare/v1/instances", body)), "id") + "\n");
  return 0;
}

}  // namespace

int run(const Options& options, const MakeBackends&) {
  const RunOptions& wanted = options.instance_run;
  const std::string body = run_body(wanted, terminal_size(STDOUT_FILENO));
  Interrupt interrupt = AttachedSession::signals();
  AgentSession session(Paths::from_environment(), options.config);
  if (wanted.detach) return run_detached(session, body);
  AttachedSession attached({.input = wanted.interactive, .tty = wanted.tty, .may_leave = !session.is_private()}, interrupt, [&] {
    note("tare: leaving; the workload is ended by the agent");
    session.abandon();
  });
  const std::string control = attached.run(session.client().open("POST", "/tare/v1/instances?attach=1", body));
  return status_of(control, wanted.name.empty() ? wanted.image : wanted.name);
}

}  // namespace tare::agent::cli
