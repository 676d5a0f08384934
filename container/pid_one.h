// SPDX-License-Identifier: Apache-2.0
// PID 1 of a workload that asks for one (Workload::init), as docker-init: it starts the program as its child, in a process group of its own
// that has the terminal, hands signals on to it, reaps what is orphaned, and ends with its exit code, 128 + the signal's number for a
// signal. It is tare-launcher's own program, executed anew from its sealed copy in memory: no file of the image is needed, and nothing of
// the launcher's memory, which knows other workloads, comes along. The steps before it (privileges, filter, user) hold for it as well.
//
// Mark::executed is the workload's: the report pipe comes along open, the child's copy closes in its execve, and ours after the fork.
#pragma once

namespace tare::container {

/// {name, program, argv of the program…}. Returns the exit code.
int run_pid_one(char** arguments);

}  // namespace tare::container
