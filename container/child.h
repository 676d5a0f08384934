// SPDX-License-Identifier: Apache-2.0
// From clone3 to execve: what the child of tare-launcher does, as one visible list of named steps. Runs in the new process only, single-
// threaded: no allocation, no throw; every pointer was made ready by the parent. A failing step is written to the report pipe, which
// closes by itself when execve succeeds. A parked process (a zygote) has done all of this but the last step.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "container/plan.h"

namespace tare::container {

/// In the child, from the step `streams` on.
constexpr int kReportDescriptor = 3;
constexpr int kInitDescriptor = 4;
/// argv[0] of the launcher's own program as PID 1 of a workload.
constexpr const char* kPidOneName = "tare-init";

/// What travels through the report pipe: one write, smaller than PIPE_BUF.
struct StepFailure {
  std::int32_t error = 0;
  std::array<char, 40> step{};
  std::array<char, 200> detail{};
};

/// Where the child reports: remembers the step it is in.
class StepReport {
 public:
  explicit StepReport(int pipe) : pipe_(pipe) {}
  /// From now on the pipe has this number.
  void moved_to(int pipe) { pipe_ = pipe; }
  int pipe() const { return pipe_; }
  void at(const char* step) { step_ = step; }
  /// Writes step, `error` and `detail`, and ends the process.
  [[noreturn]] void fail(int error, const char* detail = "") const;
  /// fail(errno, detail) unless `result` is a success.
  void check(long result, const char* detail = "") const;

 private:
  int pipe_;
  const char* step_ = "start";
};

/// A plan with its descriptors and the pointer arrays of execve, made in the parent. Refers to `plan`, which must stay.
struct ChildSetup {
  explicit ChildSetup(const Plan& plan);
  const Plan& plan;
  std::vector<char*> arguments;
  std::vector<char*> init_arguments;  // with Plan::init: of PID 1, the program and its arguments among them
  std::vector<char*> environment;
  std::vector<int> tasks;
  std::vector<int> trees;
  bool has_low_oom_score = false;  // the launcher's own, which the workload must not inherit
  int netns = -1;
  int userns = -1;     // the child is born in it: clone_child()
  int root = -1;       // the root file system, mounted nowhere
  int join = -1;       // pidfd of the process to join
  int join_root = -1;  // its root directory
  int seccomp = -1;    // with Isolation::seccomp: its program
  int in = -1;
  int out = -1;
  int err = -1;
  int terminal = -1;  // with Plan::tty, instead of the three: where its master is sent to
  int init = -1;      // with Plan::init: the program of PID 1
  int report = -1;
  bool park = false;  // `report` is a socket, by which it tells that it waits and is told to go
};

/// The namespaces that clone3 makes; the others are made or entered by a step.
std::uint64_t clone_flags(const Plan& plan, bool has_netns);

/// The list of steps. Never returns.
[[noreturn]] void become_workload(const ChildSetup& setup);

/// Executes `program` with a lookup in the PATH of `environment`; on failure it reports.
[[noreturn]] void execute(const char* program, char* const* arguments, char* const* environment, const StepReport& report);

// One file each; they run in the child.
namespace mounts {
/// The terminal of Plan::tty, or -1.
int in_child(const ChildSetup& setup, StepReport& report);
}  // namespace mounts
namespace terminal {
/// A new terminal of the devpts below the directory `root`; its master is sent to setup.terminal.
int open(const ChildSetup& setup, int root, StepReport& report);
void bind_console(int terminal, int root, StepReport& report);
}  // namespace terminal
namespace privileges {
/// Lifts this process' hard limits to those asked for, which nobody may in a user namespace; what fails here fails by name in in_child().
void raise_limits(const ProcessAttributes& attributes);
/// From here on files are made by root of the user namespace, and the host's root is nobody that this process could be.
void become_root_of_namespace(StepReport& report);
void join_new_keyring(const Plan& plan, StepReport& report);
void in_child(const Plan& plan, StepReport& report);
}  // namespace privileges
namespace seccomp {
/// A program where the kernel can read it, or nothing.
struct Program {
  const void* instructions = nullptr;
  unsigned short count = 0;
};
Program map(const ChildSetup& setup, StepReport& report);
void install(const Program& program, StepReport& report);
}  // namespace seccomp

}  // namespace tare::container
