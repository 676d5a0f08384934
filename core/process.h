// SPDX-License-Identifier: Apache-2.0
// Child processes of tare itself: tools it calls (mkfs.erofs, QEMU's self-test) and the daemon it starts. Workloads are not
// started here; they belong to container/ and vm/. Any thread.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/fd.h"
#include "core/units.h"

namespace tare {

/// How a process ended, as waitid(2) tells it.
struct Exit {
  int code = 0;  // exit status, or the signal's number when `signaled`
  bool signaled = false;
  bool oom = false;  // the kernel killed it, or a child whose death it failed for, because the memory limit was reached
  bool ok() const { return !signaled && code == 0; }
  /// As a shell and Docker count it: 128 + signal for a signaled process.
  int status() const { return signaled ? 128 + code : code; }
  auto operator<=>(const Exit&) const = default;
};
/// "exit code 3", "signal 9 (SIGKILL)", "killed: out of memory".
std::string text_of(const Exit& exit);

/// A child process, which has no other descriptor of ours than its three streams: killed and reaped when the owner dies.
class Child {
 public:
  struct Options {
    std::vector<std::string> argv;               // argv[0] is looked up in PATH when it has no '/'
    std::vector<std::string> extra_environment;  // KEY=VALUE on top of this process' environment
    int stdin_fd = -1;                           // -1: /dev/null
    int stdout_fd = -1;                          // -1: /dev/null
    int stderr_fd = -1;                          // -1: /dev/null
    bool die_with_parent = false;                // SIGKILL when the calling thread ends: one that lasts as long as the child is wanted
    bool new_session = false;                    // setsid(2): signals of our terminal do not reach it
  };
  /// Throws Error(unavailable) with the program's name when it cannot be executed.
  static Child spawn(const Options& options);

  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}
  Child& operator=(Child other) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// Reaps it; nothing when the deadline passes first.
  std::optional<Exit> wait(Deadline deadline);
  /// Gives up ownership: the process goes on when this owner dies.
  pid_t release() noexcept { return std::exchange(pid_, -1); }

 private:
  Child(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_ = -1;
  Fd pidfd_;
};

/// "<pid> <start time>": names a process for ever, since pids are reused and start times are not. Nothing for one that is gone or a zombie.
std::optional<std::string> process_identity(pid_t pid);
/// True while the process that process_identity() named lives; false for a text that names none.
bool is_alive(std::string_view identity);

/// Output of a finished tool.
struct Output {
  Exit exit;
  std::string out;  // stdout
  std::string err;  // stderr
};
/// Runs a tool to its end and captures both streams. Throws Error(unavailable) when it cannot be executed, Error(timeout) when the
/// deadline passes (the tool is killed).
Output run_tool(const std::vector<std::string>& argv, Deadline deadline);
/// run_tool() that throws Error(failed) with the last line of stderr unless the exit code is 0. Returns stdout.
std::string check_tool(const std::vector<std::string>& argv, Deadline deadline);

/// The path that `program` has in PATH, or nothing.
std::optional<std::string> find_program(const std::string& program);

}  // namespace tare
