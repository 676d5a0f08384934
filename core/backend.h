// SPDX-License-Identifier: Apache-2.0
// The seam: one way of running a workload on this host, and one run of it.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/process.h"
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
  /// Which protections are in force: {"namespaces": "mount,pid,…", "capabilities": "…", "no_new_privs": "1", …}.
  virtual std::map<std::string, std::string> protections() const = 0;

  /// Waits for the end of the workload's first process. Nothing when the deadline passes first.
  virtual std::optional<Exit> wait(Deadline deadline) = 0;
  virtual void signal(int number) = 0;
  virtual void pause() = 0;
  virtual void resume() = 0;
  /// Changes the limits that are given, while it runs or is paused; absent ones stay as they are. Throws Error naming the limit and what
  /// to do instead when this backend fixes it at the start, or when the kernel does not take it; nothing has changed then.
  virtual void update(const Limits& limits) = 0;
  /// A further process inside, with the same isolation and limits. Throws Error(timeout) at the deadline, having killed it.
  virtual ExecResult exec(const std::vector<std::string>& command, Deadline deadline) = 0;
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
  /// One-off work that belongs to no start: unpacked layers, the EROFS image, the initramfs, libvirt's capability cache.
  virtual void prepare(const Workload& workload) = 0;
  /// Returns when the workload's execve succeeded. Marks prepared … executed (`requested` is the caller's); later marks follow as they
  /// happen, so the timeline must outlive the instance. Throws Error with the failing step in its sentence; nothing is left then.
  virtual std::unique_ptr<Instance> start(const Workload& workload, Timeline& timeline) = 0;
  /// start() of an instance that may outlive the agent. `directory` names it; whatever adopt() will need is in there before anything else
  /// is made. A backend without this (details["survives_agent"] of its Probe is absent) drops the directory and does what start() does.
  virtual std::unique_ptr<Instance> start_kept(InstanceDir directory, const Workload& workload, Timeline& timeline);
  /// The kept instance of a dead agent, as it is now, or as it ended. Null when this backend keeps none. Throws Error when something of it
  /// is missing; what is left is then the caller's to remove.
  virtual std::unique_ptr<Instance> adopt(InstanceDir& directory, const Workload& workload, Timeline& timeline);
};

/// A new instance id.
std::string new_instance_id();

}  // namespace tare
