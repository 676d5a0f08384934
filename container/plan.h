// SPDX-License-Identifier: Apache-2.0
// One native process to be started, as plain data: everything the launcher needs and nothing it has to decide. Made by the backend in
// the agent, sent over the launcher's socket. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "container/isolation.h"
#include "container/mount_plan.h"
#include "core/ulimits.h"

namespace tare::container {

/// As whom and how a process runs, where that is neither namespace nor mount.
struct ProcessAttributes {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups = {0};
  std::uint32_t umask = 022;
  std::vector<ResourceLimit> limits;
  bool operator==(const ProcessAttributes&) const = default;
};

struct Plan {
  std::string key;                       // names the process in every later message: the instance's id, or "<id>/exec-<n>"
  std::string join;                      // exec: the key of the running process whose namespaces it enters; else empty
  std::string program;                   // path inside the root file system
  std::vector<std::string> arguments;    // argv
  std::vector<std::string> environment;  // KEY=VALUE, complete
  std::string working_directory = "/";
  std::string hostname;             // with Isolation::uts
  std::string root;                 // directory that the root file system is moved to, in the child's own mount namespace
  std::string log;                  // files log.<n>, to which the launcher appends both streams; empty: the plan brings descriptors
  std::uint64_t log_max_size = 0;   // of one file, in bytes; 0: no limit
  std::uint32_t log_max_files = 1;  // so many stay
  bool open_stdin = false;          // its stdin is a pipe; else /dev/null
  bool tty = false;                 // its streams are a terminal of the instance's own devpts
  std::uint16_t rows = 0;           // of the terminal, at first
  std::uint16_t columns = 0;
  bool init = false;  // PID 1 is tare-launcher's pid_one.cc, and the program its child
  Isolation isolation;
  MountPlan mounts;
  ProcessAttributes attributes;
  bool operator==(const Plan&) const = default;
};

/// Descriptors that travel with a plan. -1: absent.
struct PlanFds {
  std::vector<int> tasks;     // v1 `tasks` files, to which the child writes "0"
  int cgroup_directory = -1;  // for CLONE_INTO_CGROUP
  int netns = -1;             // network namespace to enter instead of a new one
  int userns = -1;            // with Isolation::first_id: the user namespace that all others of the process belong to
  int root = -1;              // the root file system, mounted nowhere yet: mount_overlay()
  int seccomp = -1;           // the filter of Isolation::seccomp: an array of sock_filter
  std::vector<int> trees;     // of the mounts that come from the host: open_trees()
  // With an empty Plan::log:
  int out = -1;
  int err = -1;
  int in = -1;        // with Plan::open_stdin
  int terminal = -1;  // with Plan::tty, instead of the three: a socket to which the child sends the terminal's master
};

}  // namespace tare::container
