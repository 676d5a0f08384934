// SPDX-License-Identifier: Apache-2.0
// One run of a workload as a native process. See core/backend.h for the contract of each function.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "container/launcher.h"
#include "container/plan.h"
#include "core/backend.h"
#include "core/bridge.h"
#include "core/control_group.h"
#include "core/id_range.h"
#include "core/instance_dir.h"
#include "core/netlink.h"

namespace tare::container {

/// The instance's end of a link: a network namespace and the veth that leads into it. Removed when the owner dies.
class InstanceLink {
 public:
  /// Makes namespace, veth and addresses. `lock_file` guards the choice of addresses.
  InstanceLink(const std::string& instance_id, const std::string& lock_file) : InstanceLink(instance_id, lock_file, Fd()) {}
  /// The same in a network namespace that was made already; without one, a new one.
  InstanceLink(const std::string& instance_id, const std::string& lock_file, Fd netns);
  InstanceLink(const InstanceLink&) = delete;
  InstanceLink& operator=(const InstanceLink&) = delete;
  ~InstanceLink();
  /// The link of a dead agent's instance, ours from now on.
  InstanceLink(const std::string& instance_id, netlink::Subnet subnet);
  void remove();
  void leave() { left_ = true; }
  const netlink::Subnet& subnet() const { return subnet_; }
  int netns() const { return netns_.get(); }
  const std::string& host_name() const { return host_name_; }
  const std::string& address() const { return subnet_.instance; }

 private:
  std::string host_name_;
  Fd netns_;
  netlink::Subnet subnet_;
  bool left_ = false;
};

/// A network namespace, its loopback down. The calling thread may be left in it when this throws, so it is a thread made for this.
Fd make_network_namespace();
/// A network namespace with nothing but its loopback, up: a new one, or `made`. The calling thread is in it from then on, so it is a thread
/// made for this.
Fd become_network_namespace(Fd made = {});
/// The same, by a thread that ends in it; the descriptor keeps it.
Fd new_network_namespace(Fd made = {});

/// What is made before the process; in the order in which it is made, and undone in reverse.
struct NativeResources {
  std::shared_ptr<void> after;  // goes when all else is gone: then a pool is filled again. Null for who took from none
  // The root file system. The kernel writes an overlay's files to the disk when its last user goes. That is not to be the workload, whose
  // end would wait for it, but this descriptor, when the files are removed.
  Fd root;
  std::shared_ptr<void> keep;  // the backend's parts, until the last instance is gone
  std::shared_ptr<Launcher> launcher;
  InstanceDir directory;
  std::optional<IdRange> ids;  // with Userns::automatic
  std::unique_ptr<ControlGroup> group;
  std::unique_ptr<InstanceLink> link;   // absent without Network::link
  std::vector<Fd> ports;                // published ones of the host, held
  std::optional<bridge::Member> place;  // absent without Network::bridge
  std::string resolver_note = {};       // which name servers it lacks and why
  Start started_as = Start::cold;
};

class NativeInstance final : public Instance {
 public:
  NativeInstance(std::string id, std::string who, std::string address, Plan plan, NativeResources resources,
                 std::shared_ptr<NativeProcess> process, Timeline& timeline);
  ~NativeInstance() override;

  const std::string& id() const override { return id_; }
  Start started_as() const override { return started_as_; }
  State state() const override { return state_.load(); }
  std::string address() const override { return address_; }
  Usage usage() const override;
  const Log& log() const override { return process_->log(); }
  std::unique_ptr<LogReader> kept_log(std::optional<std::uint64_t> lines) const override { return process_->kept_log(lines); }
  Input* input() override { return plan_.tty || plan_.open_stdin ? &process_->input() : nullptr; }
  std::map<std::string, std::string> protections() const override;
  std::optional<Exit> wait(Deadline deadline) override;
  void signal(int number) override;
  void pause() override;
  void resume() override;
  void update(const Limits& limits) override;
  std::unique_ptr<Exec> start_exec(const ExecRequest& request, Deadline deadline) override;
  Exit stop(std::chrono::nanoseconds grace) override;
  void remove() override;
  void leave() override;

 private:
  void has_ended(const End& end);
  Exit exit_of(const End& end) const;
  void remove_all();

  std::string id_;
  std::string who_;  // "container 'serve'", for sentences
  std::string address_;
  const Start started_as_;
  Plan plan_;
  Timeline& timeline_;
  std::atomic<State> state_ = State::running;
  std::atomic<bool> oom_ = false;
  std::atomic<bool> asked_ = false;   // by a signal of ours: its exit code may be the answer
  std::atomic<bool> killed_ = false;  // by us: its SIGKILL is not the kernel's
  std::atomic<unsigned> next_exec_ = 0;
  bool left_ = false;
  std::set<std::string> execs_;  // keys of those that run; under mutex_
  class RunningExec;
  struct GroupFds {
    std::vector<Fd> tasks;
    Fd directory;
  };
  GroupFds group_fds() const;
  Plan plan_of(const ExecRequest& request);

  const std::shared_ptr<Launcher> launcher_;
  mutable std::mutex mutex_;  // resources_ and last_usage_, against remove()
  std::mutex change_mutex_;   // one stop(), pause() or remove() at a time
  mutable std::optional<NativeResources> resources_;
  Usage last_usage_;
  std::shared_ptr<NativeProcess> process_;
};

}  // namespace tare::container
