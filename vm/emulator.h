// SPDX-License-Identifier: Apache-2.0
// The QEMU of one instance, and its domain in libvirt.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/control_group.h"
#include "core/fd.h"
#include "core/timeline.h"
#include "core/units.h"
#include "vm/connection.h"
#include "vm/host_side.h"

namespace tare::vm {

/// Thread-safe once create() has returned.
class Emulator {
 public:
  /// `name` is the domain's, `who` is "vm 'serve'", for sentences.
  Emulator(std::shared_ptr<Connection> connection, std::string name, std::string who)
      : connection_(std::move(connection)), name_(std::move(name)), who_(std::move(who)) {}
  /// Ends it.
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  /// Starts a transient domain whose QEMU is in `group`, or has it there with its virtual CPUs stopped. Throws Error; nothing runs then.
  void create(const std::string& xml, ControlGroup& group, bool stopped = false);
  /// The QEMU of an earlier agent, instead of create(). False when it is gone.
  bool adopt();
  /// Of one that was adopted: its virtual CPUs stand still.
  bool stands_still() const;
  /// It outlives this.
  void leave();
  /// When the process that became QEMU began, and when its virtual CPU did, or why nobody knows; and the mark `launched`, which is at
  /// `running`, where create() returned, in case that QEMU's own word is not known. Some time after create().
  void tell(Timeline& timeline, Instant running) const;
  bool created() const { return domain_ != nullptr; }
  /// Stops and continues its virtual CPUs. Throw Error(failed).
  void pause();
  void resume();

  /// Writes the state of a stopped machine to `file`, all but its memory, which it shares with a file of its own. Throw Error.
  void save_state(const std::filesystem::path& file, Deadline deadline);
  /// Of a machine that was created stopped and for this (VmPlan::Memory::clone).
  void load_state(const std::filesystem::path& file, Deadline deadline);

  /// What its threads used; nothing when it is gone or runs elsewhere.
  std::optional<HostSide> host_side() const { return pid_ > 0 ? read_host_side(pid_, has_vhost_) : std::nullopt; }

  /// See exits_of(): nothing without KVM, and when it is gone.
  std::map<std::string, std::uint64_t> exits();
  /// The kernel moves its network's packets (vhost-net) instead of QEMU.
  bool has_vhost() const { return has_vhost_; }

  /// False when it is a child that has ended.
  bool alive() const;
  /// The shortest way out: its disk dies with it, and libvirt sees the monitor close. False when libvirt runs QEMU elsewhere.
  bool kill();
  /// When it was killed or its channel is closed, after which QEMU ends by itself: reaps it, once. libvirt looks for the end in steps of
  /// 200 ms, and a process that nobody reaped has not ended.
  void reap();
  /// Nothing when libvirt has not told the end at the deadline.
  bool wait_stopped(Deadline deadline);
  /// By libvirt's own way; does nothing when it has ended.
  void destroy();
  /// What libvirt will say concerns nobody any more.
  void forget();

 private:
  void watch();
  void take(int pid);
  std::string ask(const std::string& command, int fd = -1);
  void await_migration(Deadline deadline);
  const std::shared_ptr<Connection> connection_;
  const std::string name_;
  const std::string who_;
  Domain domain_;
  Fd process_;  // pidfd; absent when libvirt runs QEMU elsewhere
  int pid_ = -1;
  bool has_vhost_ = false;
  std::optional<Instant> began_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;  // this and what follows under mutex_: libvirt has seen the end of the domain
  bool reaped_ = false;
};

}  // namespace tare::vm
