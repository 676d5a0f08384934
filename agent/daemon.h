// SPDX-License-Identifier: Apache-2.0
// `tare agent`: what it does from start to end, in order.
#pragma once

#include "agent/backends.h"
#include "agent/config.h"

namespace tare::agent {

struct DaemonOptions {
  Config config;
  int lease_fd = -1;  // private agent: the end of this descriptor is the end of the agent
};

/// Returns when a signal or the end of the lease asks it to; everything it started is cleaned up then. Throws Error.
void run_agent(const DaemonOptions& options, const MakeBackends& make);

}  // namespace tare::agent
