// SPDX-License-Identifier: Apache-2.0
// The seam: one way of running a workload on this host, and one run of it.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/process.h"
#include "core/streams.h"
#include "core/timeline.h"
#include "core/usage.h"
#include "core/workload.h"

namespace tare {

class InstanceDir;

/// What a backend can do on this host, and how well.
struct Probe {
  bool able = false;
  std::string reason;                          // why not, or what is limited; empty when all is well
  std::string remedy;                          // the command or setting that mends it
  bool emulated = false;                       // a VM without hardware virtualisation: never ranked against the others
  std::string implementation;                  // "namespaces and cgroup hybrid", "qemu 7.2.22 via libvirt 9.0.0"
  std::string accelerator;                     // VM: "kvm" or "tcg"; empty elsewhere
  std::map<std::string, std::string> details;  // whatever else belongs into the result: kernel release, machine type, …
};

enum class State { created, running, paused, exited, removed };
std::string_view name(State state) noexcept;

struct ExecResult {
  Exit exit;
  std::string out;
  std::string err;
};

/// A further process inside an instance.
struct ExecRequest {
  std::vector<std::string> command;        // argv; a name without '/' is looked up in PATH
  std::string user{};                      // as Workload::user; empty: the workload's
  std::string working_directory{};         // empty: the workload's
  std::vector<std::string> environment{};  // KEY=VALUE, on top of the workload's
  bool open_stdin = false;                 // else it reads /dev/null
  bool tty = false;                        // a terminal of its own, which is its stdin too; its output comes as stdout
  TerminalSize terminal{};
};

/// One that runs, or has ended. Thread-safe. Destruction ends it.
class Exec {
 public:
  virtual ~Exec() = default;
  /// Closed when it has ended and what it wrote is there, also where a descendant still holds its streams. While somebody follows the log
  /// (Log::follow) and is slow, the process waits.
  virtual const Log& log() const = 0;
  /// Null where it has neither stdin nor terminal.
  virtual Input* input() = 0;
  /// Throws Error(conflict) when it has ended.
  virtual void signal(int number) = 0;
  /// Nothing when the deadline passes first. Throws Error when nobody can tell any more.
  virtual std::optional<Exit> wait(Deadline deadline) = 0;
};

/// One run of a workload. Thread-safe: a reader may ask for usage() while another thread waits. Destruction ends it and leaves no trace.
class Instance {
 public:
  virtual ~Instance() = default;
  virtual const std::string& id() const = 0;  // "t" and 12 hex digits; in cgroup path, interface name, domain name, directory
  virtual State state() const = 0;
  /// Where its ports answer, seen from the host: "127.0.0.1" (metal), the link's address, or empty with Network::none.
  virtual std::string address() const = 0;
  virtual Usage usage() const = 0;
  virtual const Log& log() const = 0;
  /// The log with what log() has dropped but is still on disk; begins with its last `lines` whole ones, if that is said. Reading goes on as
  /// long as the instance is there. Null where nothing more is kept.
  virtual std::unique_ptr<LogReader> kept_log(std::optional<std::uint64_t> /*lines*/) const { return nullptr; }
  /// Null where the workload asked for neither stdin nor a terminal.
  virtual Input* input() { return nullptr; }
  /// What was in fact made beforehand: `cold` where the workload asked for more and nothing waited for it.
  virtual Start started_as() const { return Start::cold; }
  /// Which protections are in force: {"namespaces": "mount,pid,…", "capabilities": "…", "no_new_privs": "1", …}.
  virtual std::map<std::string, std::string> protections() const = 0;

  /// Sentences that a reader of its numbers must know, such as what it asked for and did not get.
  virtual std::vector<std::string> remarks() const { return {}; }

  /// Waits for the end of the workload's first process. Nothing when the deadline passes first.
  virtual std::optional<Exit> wait(Deadline deadline) = 0;
  virtual void signal(int number) = 0;
  virtual void pause() = 0;
  virtual void resume() = 0;
  /// Changes the limits that are given, while it runs or is paused; absent ones stay as they are. Throws Error naming the limit and what
  /// to do instead when this backend fixes it at the start, or when the kernel does not take it; nothing has changed then.
  virtual void update(const Limits& limits) = 0;
  /// A further process inside, with the same isolation and limits; returns when its program is executed. Throws Error(timeout) when that
  /// is not so at the deadline, Error(unsuited) naming what this backend cannot do.
  virtual std::unique_ptr<Exec> start_exec(const ExecRequest& request, Deadline deadline) = 0;
  /// start_exec() to the process' end, with all its output. Throws Error(timeout) at the deadline, having killed it.
  ExecResult exec(const std::vector<std::string>& command, Deadline deadline);
  /// SIGTERM, after `grace` SIGKILL to the whole tree. Marks `stopping` and `exited`.
  virtual Exit stop(std::chrono::nanoseconds grace) = 0;
  /// Ends it if need be and removes every trace; marks `removed`. Idempotent. Throws Error naming what could not be removed.
  virtual void remove() = 0;
  /// The agent ends and a kept instance goes on without it: what follows is only this object's destruction, which then removes nothing.
  /// An instance that cannot outlive the agent is removed by its destruction all the same.
  virtual void leave() {}
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  // "metal", "container", "vm": the label in every report and metric
  /// Cheap after the first call; any thread.
  virtual Probe probe() const = 0;
  /// One-off work that belongs to no start: unpacked layers, the EROFS image, the initramfs, libvirt's capability cache. For a workload
  /// that is not started cold, what waits for it: made here when nothing waits any more. Throws Error(unsuited) when this backend has no
  /// such start.
  virtual void prepare(const Workload& workload) = 0;
  /// Removes all that waits for workloads that are not started cold.
  virtual void give_up_parked() {}
  /// Returns when the workload's execve succeeded. Marks prepared … executed (`requested` is the caller's); later marks follow as they
  /// happen, so the timeline must outlive the instance. Throws Error with the failing step in its sentence; nothing is left then.
  virtual std::unique_ptr<Instance> start(const Workload& workload, Timeline& timeline) = 0;
  /// Called with the directory of an instance before its process is there.
  using Record = std::function<void(const InstanceDir&)>;
  /// start() of an instance that may outlive the agent. Whatever adopt() will need is in its directory before there is a process; `record`
  /// adds what the caller will need. A backend without this (details["survives_agent"] of its Probe is absent) does what start() does.
  virtual std::unique_ptr<Instance> start_kept(const Record& record, const Workload& workload, Timeline& timeline);
  /// The kept instance of a dead agent, as it is now, or as it ended. Null when this backend keeps none. Throws Error when something of it
  /// is missing; what is left is then the caller's to remove.
  virtual std::unique_ptr<Instance> adopt(InstanceDir& directory, const Workload& workload, Timeline& timeline);
};

/// A new instance id.
std::string new_instance_id();

}  // namespace tare
