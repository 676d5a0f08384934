// SPDX-License-Identifier: Apache-2.0
// The system calls of tare-launcher, each in the form its loop needs. Single-threaded.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "container/child.h"
#include "container/protocol.h"
#include "core/fd.h"

namespace tare::container {

/// A start that failed before there was a child.
struct LaunchFailure {
  const char* step;
  int error;
  std::string detail;
};

/// True where this process is spared by the killer of processes (a negative oom_score_adj).
bool has_low_oom_score();

/// Moves the calling process to a mount namespace of its own with no more of the host's mounts than /proc, /sys (a user namespace may mount
/// these only where it can see them) and those on the way to `needed` or in there, and with none that is made later. Each start copies all
/// that are there and lets them go again: with the 21 of a small host a tenth of a millisecond, and a host that runs containers has
/// hundreds. Where it cannot, nothing changes.
void leave_mounts(const std::vector<std::string>& needed);
std::int64_t monotonic_now();
/// {read end, non-blocking; write end}. Throws LaunchFailure.
std::pair<Fd, Fd> make_pipe();
/// {ours, the child's}. Throws LaunchFailure.
std::pair<Fd, Fd> make_socket_pair();
/// {ours, non-blocking; the child's}: the channel of a parked process. Throws LaunchFailure.
std::pair<Fd, Fd> make_channel();
Fd open_pidfd(pid_t pid);
/// The root directory of a process, as it sees it. Throws LaunchFailure.
Fd open_root_of(pid_t pid);
/// Makes the streams belong to the user that the process will be: in a user namespace it could not do so itself. Throws LaunchFailure.
void give_streams(const ChildSetup& setup);
/// Throws LaunchFailure. In the child it never returns.
pid_t clone_child(const ChildSetup& setup, int cgroup_directory);
bool readable(int fd);
/// True for a dead child, not yet reaped, that never reached its program: killed for memory or by a deadline in the middle of a step.
bool died_before_execve(pid_t pid);
/// Ends all children, and theirs as they come up to us, until there is none.
void kill_descendants();

}  // namespace tare::container
