// SPDX-License-Identifier: Apache-2.0
// libvirt, owned. One connection and one event thread for a process, because the embedded driver has one root for a process.
// Only vm/*.cc include this header: libvirt's own stays private to the folder.
#pragma once

#include <libvirt/libvirt.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "core/paths.h"
#include "core/units.h"
#include "vm/driver_root.h"
#include "vm/plan.h"

namespace tare::vm {

struct FreeDomain {
  void operator()(virDomain* domain) const noexcept { virDomainFree(domain); }
};
using Domain = std::unique_ptr<virDomain, FreeDomain>;
struct CloseConnect {
  void operator()(virConnect* connect) const noexcept { virConnectClose(connect); }
};

/// Throws Error(unavailable or failed) from libvirt's last error: `what` names the object, "domain t12ab".
[[noreturn]] void throw_libvirt(const std::string& what);

/// libvirt's log goes to paths.state/libvirt.log instead of our stderr; what the user set stays. libvirt reads it from the environment at
/// its first call, and setenv(3) must not meet a thread that reads: call this before there are any.
void send_log_to_file(const Paths& paths);

/// Thread-safe.
class Connection {
 public:
  /// `uri`: "" for the driver embedded in this process, with its root in paths.state (DriverRoot);
  /// else a libvirt URI such as "qemu:///system". Throws Error(unavailable).
  ///
  /// Makes this process a subreaper (PR_SET_CHILD_SUBREAPER is process-wide): QEMU, which libvirt daemonises, becomes our child, and a
  /// dead one can be reaped at once instead of when PID 1 finds the time; libvirt polls for that in steps of 200 ms.
  ///
  /// `confinement` of the QEMUs of an embedded driver: whether they have their own filter of system calls.
  ///
  /// The same connection for the same paths and URI, and for as long as the process: the embedded driver can be opened only once.
  static std::shared_ptr<Connection> open(const Paths& paths, const std::string& uri, Confinement confinement);
  ~Connection();

  bool embedded() const { return embedded_; }
  virConnect* get() const { return connect_.get(); }
  /// "qemu 7.2.22 via libvirt 9.0.0"
  std::string versions() const;

  /// Has libvirt ask QEMU what it can do, which takes seconds the first time and is kept on disk: off the path of a start.
  void learn_capabilities(const std::string& emulator, const std::string& domain_type);
  /// Starts a transient domain, or has it there with its virtual CPUs stopped. `name` is for messages.
  Domain create(const std::string& xml, const std::string& name, bool stopped = false);
  /// What QEMU answers to a command of its monitor, as JSON. It gets a duplicate of `fd`, if that is said. `name` is for messages. Throws
  /// Error(failed).
  std::string ask_monitor(virDomain* domain, const std::string& command, const std::string& name, int fd = -1);
  /// Process id of the domain's QEMU; nothing when it does not run on this host.
  std::optional<int> emulator_pid(const std::string& name) const;
  /// When its virtual CPUs began to run, as QEMU says; nothing before libvirt's event thread has heard of it.
  std::optional<Instant> running_since(const std::string& name) const;
  /// Calls `ended` once when libvirt says that the domain has stopped; on the event thread, which must not come back here.
  void on_stopped(const std::string& name, std::function<void()> ended);
  /// When it returns, the watcher is not running and never will. libvirt may need 200 ms more than QEMU to see its end; the destructor
  /// waits for those it has not told yet, so that no record of a dead domain stays on disk.
  void forget(const std::string& name);
  /// Its creation failed: no end will be told.
  void never_started(const std::string& name);
  /// A domain that an earlier process left in our root; null when there is none.
  Domain find(const std::string& name);
  /// It goes on without us: its end is not waited for.
  void leave(const std::string& name);

 private:
  Connection(const Paths& paths, const std::string& uri, Confinement confinement);
  static void running(virConnectPtr, virDomainPtr domain, const char* event, long long seconds, unsigned microseconds, const char* details,
                      void* self);
  static int lifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* self);
  void stopped(const std::string& name);
  void remove_log(const std::string& name) const;

  bool embedded_ = false;
  std::optional<DriverRoot> root_;
  std::unique_ptr<virConnect, CloseConnect> connect_;
  int callback_ = -1;
  int running_callback_ = -1;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Instant> running_since_;  // of the domains in watchers_
  std::condition_variable fewer_;
  std::unordered_map<std::string, std::function<void()>> watchers_;
};

}  // namespace tare::vm
