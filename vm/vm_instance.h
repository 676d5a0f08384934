// SPDX-License-Identifier: Apache-2.0
// One run of a workload in a virtual machine. See core/backend.h for the contract of each function.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/bridge.h"
#include "core/control_group.h"
#include "core/id_range.h"
#include "core/instance_dir.h"
#include "vm/connection.h"
#include "vm/emulator.h"
#include "vm/guest.h"
#include "vm/guest_work.h"
#include "vm/kept.h"
#include "vm/plan.h"
#include "vm/share.h"
#include "vm/tap.h"

namespace tare::vm {

/// What is made before the machine, in this order, and undone in reverse.
struct VmResources {
  std::shared_ptr<void> after;  // goes when all else has gone
  std::shared_ptr<Connection> connection;
  InstanceDir directory;
  std::string confinement = {};               // of QEMU, for people
  std::optional<IdRange> ids = std::nullopt;  // of a confined QEMU: the first is its user
  std::unique_ptr<ControlGroup> group = nullptr;
  std::vector<Share> shares = {};
  std::optional<Tap> tap = std::nullopt;
  std::vector<Fd> ports = {};                          // published ones of the host, held
  std::optional<bridge::Member> place = std::nullopt;  // with Network::bridge; the tap is its interface
  std::unique_ptr<Emulator> emulator = nullptr;
  Start started_as = Start::cold;
  std::shared_ptr<void> pins = nullptr;  // its claim on CPUs of the host
  /// All of it stays when its owner dies.
  void leave() noexcept;
};

class VmInstance final : public Instance {
 public:
  /// With the emulator of a clone that waits, or with one that does not run.
  VmInstance(VmPlan plan, GuestWork work, std::string who, VmResources resources, Timeline& timeline);
  ~VmInstance() override;

  /// Starts the machine and returns when the workload's execve succeeded. Throws Error; the owner then just lets go.
  void boot(const std::string& xml, Deadline deadline);
  /// Instead of boot(), of a clone of the guest with this past: returns when it is itself. Throws Error.
  void wake(const Guest::Past& past, Deadline deadline);
  /// Of one that runs: it waits, stopped, until it is taken.
  void park();
  /// False when it died while it waited.
  bool waits() const { return state_.load() == State::paused && emulator_.alive(); }
  /// It may outlive the agent: its output goes to disk too, as much as `limits` says, and kept() tells the rest. Before it runs.
  void keep(const LogLimits& limits);
  const InstanceDir& directory() const { return resources_.directory; }
  /// For the agents of `run`, once it runs.
  Kept kept(const std::filesystem::path& run) const;
  /// Instead of boot(), of one whose agent has died, with what that one kept. Where its QEMU is gone it has exited. Throws Error; the owner
  /// then calls leave().
  void adopt(const Kept& kept, const LogLimits& limits);

  /// What goes when it is removed.
  void when_gone(std::shared_ptr<void> after) { resources_.after = std::move(after); }
  /// Of one that waits: `workload`, whose marks go to `timeline`, has it from now on, with the ports that it publishes. Returns when it
  /// runs and knows the time. Throws Error.
  void take(const Workload& workload, Timeline& timeline);
  /// Halts it for good, and writes what a clone needs: its machine's state, and a copy of its disk. Throws Error.
  Guest::Past freeze(const std::filesystem::path& state, const std::filesystem::path& disk, Deadline deadline);

  const std::string& id() const override { return plan_.name; }
  State state() const override { return state_.load(); }
  std::string address() const override { return address_; }
  Usage usage() const override;
  const Log& log() const override { return guest_.log(); }
  std::unique_ptr<LogReader> kept_log(std::optional<std::uint64_t> lines) const override { return guest_.kept_log(lines); }
  Input* input() override { return guest_.input(); }
  Start started_as() const override { return resources_.started_as; }
  std::map<std::string, std::string> protections() const override;
  std::vector<std::string> remarks() const override;
  std::optional<Exit> wait(Deadline deadline) override { return guest_.wait(deadline); }
  void signal(int number) override;
  void pause() override;
  void resume() override;
  void update(const Limits& limits) override;
  std::unique_ptr<Exec> start_exec(const ExecRequest& request, Deadline deadline) override;
  Exit stop(std::chrono::nanoseconds grace) override;
  void remove() override;
  void leave() override;

 private:
  void create(const std::string& xml);
  Usage host_usage() const;
  void on_exiting();
  void on_exited();
  void on_ended(bool nonsense);
  std::vector<Trait> traits() const;  // of its profile, and its parity with the host
  void require_running(std::string_view action) const;
  void kill();
  void release();

  const VmPlan plan_;
  const std::string who_;  // "vm 'serve'", for sentences
  const std::string address_;
  Timeline& timeline() const { return *timeline_.load(); }
  std::atomic<Timeline*> timeline_;
  std::atomic<State> state_{State::created};
  bool kept_ = false;        // it may outlive the agent
  bool left_ = false;        // it does
  std::mutex change_mutex_;  // one pause(), resume(), update() or remove() at a time

  mutable std::mutex resources_mutex_;
  VmResources resources_;             // of it the place and the tap under resources_mutex_
  std::optional<Usage> final_usage_;  // under it too: taken when the workload ended, before QEMU went
  Emulator& emulator_;                // resources_.emulator
  mutable Guest guest_;               // last: its thread uses all of the above
};

}  // namespace tare::vm
