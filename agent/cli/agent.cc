// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "agent/cli/verbs.h"
#include "agent/daemon.h"

namespace tare::agent::cli {

int agent(const Options& options, const MakeBackends& make) {
  DaemonOptions daemon;
  daemon.config = find_config(options.config);
  if (options.private_to) {
    daemon.config.is_private = true;
    daemon.config.paths.run = *options.private_to;
    daemon.lease_fd = STDIN_FILENO;
  }
  run_agent(daemon, make);
  return 0;
}

}  // namespace tare::agent::cli
