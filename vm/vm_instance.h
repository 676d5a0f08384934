// SPDX-License-Identifier: Apache-2.0
// One run of a workload in a virtual machine. See core/backend.h for the contract of each function.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/bridge.h"
#include "core/control_group.h"
#include "core/instance_dir.h"
#include "vm/channel.h"
#include "vm/connection.h"
#include "vm/plan.h"
#include "vm/tap.h"

namespace tare::vm {

/// What the guest is to run.
struct GuestWork {
  std::string program;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::string directory;
  std::string hostname;
  std::string address;  // with prefix; empty without a network
  std::string gateway;
  std::string gateway_mac;
  std::string resolver;       // text of /etc/resolv.conf
  std::string resolver_note;  // which name servers it lacks and why
  std::uint64_t pids = 0;     // 0: unlimited
  bool restricted = true;
};

/// What is made before the machine, in this order, and undone in reverse.
struct VmResources {
  std::shared_ptr<Connection> connection;
  InstanceDir directory;
  std::unique_ptr<ControlGroup> group;
  std::optional<Tap> tap;
  std::vector<Fd> ports = {};                          // published ones of the host, held
  std::optional<bridge::Member> place = std::nullopt;  // with Network::bridge; the tap is its interface
};

class VmInstance final : public Instance {
 public:
  VmInstance(VmPlan plan, GuestWork work, std::string who, std::string address, VmResources resources, Timeline& timeline);
  ~VmInstance() override;

  /// Starts the machine and returns when the workload's execve succeeded. Throws Error; the owner then just lets go.
  void boot(const std::string& xml, Deadline deadline);

  const std::string& id() const override { return plan_.name; }
  State state() const override { return state_.load(); }
  std::string address() const override { return address_; }
  Usage usage() const override;
  const Log& log() const override { return log_; }
  std::map<std::string, std::string> protections() const override;
  std::optional<Exit> wait(Deadline deadline) override;
  void signal(int number) override;
  void pause() override;
  void resume() override;
  void update(const Limits& limits) override {
    const std::lock_guard change(change_mutex_);
    require_running("update");
    resources_.group->update(host_change(limits, plan_.vcpus, who_));
  }
  ExecResult exec(const std::vector<std::string>& command, Deadline deadline) override;
  Exit stop(std::chrono::nanoseconds grace) override;
  void remove() override;

 private:
  // A process that exec added.
  struct Session {
    std::string out, err;
    std::optional<Exit> exit;
    std::optional<Error> failure;
  };
  struct GuestMark {
    std::int64_t guest = 0;
    Instant arrived;
  };

  void create_domain(const std::string& xml);
  void send_work(Deadline deadline);
  void await_executed(Deadline deadline);
  void map_marks();
  void mark_guest(Mark mark, const GuestMark& reading);

  void on_frame(const guest::Frame& frame, Instant arrived);
  void on_hello(const guest::Hello& hello, Instant arrived);
  void on_executed(std::uint16_t process, const guest::Executed& executed, Instant arrived);
  void on_output(std::uint16_t process, const guest::Output& output, Instant arrived);
  void on_exited(std::uint16_t process, const guest::Exited& exited, Instant arrived);
  void on_failure(std::uint16_t process, const guest::Failure& failure);
  void on_pong(const guest::Pong& pong, Instant arrived);
  void on_end(const std::string& why);
  void ping();

  template <class Ready>
  bool wait_until(std::unique_lock<std::mutex>& lock, Deadline deadline, Ready ready) const;
  void require_running(std::string_view action) const;
  std::string last_console_line() const;
  std::optional<guest::GuestUsage> ask_guest() const;
  void queue_exec(std::uint16_t number, const std::vector<std::string>& command);
  ExecResult read_exec(std::uint16_t number, const std::string& command, Deadline deadline);
  bool kill_emulator_process();  // false when libvirt runs it elsewhere
  void kill_emulator();
  void release();

  const VmPlan plan_;
  const GuestWork work_;
  const std::string who_;  // "vm 'serve'", for sentences
  const std::string address_;
  Timeline& timeline_;
  Log log_;
  std::atomic<State> state_{State::created};

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  ClockMap clock_;  // this and what follows under mutex_
  std::uint64_t last_ping_ = 0;
  Instant ping_sent_;
  std::optional<GuestMark> kernel_, init_, executed_;
  std::optional<Exit> exit_;
  std::optional<Error> failure_;  // of the start of the workload, or of the machine
  bool ended_ = false;            // the channel is closed: QEMU is gone or going
  bool stopped_ = false;          // libvirt has seen the end of the domain
  bool removing_ = false;
  std::map<std::uint16_t, Session> sessions_;
  std::uint16_t next_session_ = 1;
  mutable std::uint64_t next_request_ = 1;
  mutable std::optional<guest::GuestUsage> guest_usage_;  // the last answer
  std::optional<Usage> final_usage_;                      // taken when the workload ended, before QEMU went

  VmResources resources_;
  Domain domain_;
  Fd emulator_;  // pidfd; absent when libvirt runs elsewhere
  int emulator_pid_ = -1;
  std::mutex change_mutex_;           // one pause(), resume() or remove() at a time
  mutable std::mutex sending_;        // the strings of one process must arrive together
  std::unique_ptr<Channel> channel_;  // last: its thread uses all of the above
};

}  // namespace tare::vm
