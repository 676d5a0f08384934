// SPDX-License-Identifier: Apache-2.0
#include "vm/vm_instance.h"

#include <csignal>

#include "core/listener.h"
#include "core/netlink.h"
#include "vm/console.h"
#include "vm/parity.h"
#include "vm/scratch_disk.h"

namespace tare::vm {
namespace {

constexpr auto kLibvirtEnd = std::chrono::seconds(5);  // from QEMU's end to libvirt's having seen it
constexpr auto kAfterKill = std::chrono::seconds(5);
constexpr auto kAnswer = std::chrono::seconds(1);  // of a guest to another agent; one that answers later is heard later

}  // namespace

void VmResources::leave() noexcept {
  if (emulator) emulator->leave();
  for (Share& share : shares) share.leave();
  if (place) place->leave_behind();
  if (tap) tap->leave();
  if (ids) ids->leave();
  if (group) group->leave();
  directory.release();
}

VmInstance::VmInstance(VmPlan plan, GuestWork work, std::string who, VmResources resources, Timeline& timeline)
    : plan_(std::move(plan)),
      who_(std::move(who)),
      address_(work.address.substr(0, work.address.find('/'))),
      timeline_(&timeline),
      resources_(std::move(resources)),
      emulator_(*resources_.emulator),
      guest_(std::move(work), who_, timeline,
             Guest::Watch{[this] { on_exiting(); }, [this] { on_exited(); }, [this](bool nonsense) { on_ended(nonsense); },
                          [this] { return last_console_line(plan_.console); }}) {}

VmInstance::~VmInstance() {
  try {
    if (!left_) remove();
  } catch (const Error&) {  // recovery finds what stayed by its owner file
  }
}

void VmInstance::boot(const std::string& xml, Deadline deadline) {
  timeline().take(Course::boot);
  create(xml);
  const Instant running = Instant::now();
  guest_.start(plan_.channel.string(), deadline);
  emulator_.tell(timeline(), running);
  timeline().not_seen(Moment::decompressed, "none: the kernel was unpacked when it was imported, and is started as ELF");
  State created = State::created;
  state_.compare_exchange_strong(created, State::running);  // it may have ended meanwhile
}

void VmInstance::wake(const Guest::Past& past, Deadline deadline) {
  timeline().take(Course::clone);
  guest_.resume(plan_.channel.string(), past, plan_.interface ? plan_.interface->mac : "");
  emulator_.resume();
  timeline().mark(Mark::launched);
  guest_.await_identified(past, deadline);
  timeline().note(Moment::identified, Instant::now());
  State created = State::created;
  state_.compare_exchange_strong(created, State::running);
}

// ---- beyond the agent

void VmInstance::keep(const LogLimits& limits) {
  kept_ = true;
  guest_.keep(std::make_unique<KeptOutput>(resources_.directory.path(), limits));
}

Kept VmInstance::kept(const std::filesystem::path& run) const {
  Kept kept;
  kept.run = run;
  kept.token = guest_.work().token;
  kept.image = guest_.work().image;
  kept.started_as = resources_.started_as;
  kept.confinement = resources_.confinement;
  if (resources_.ids) kept.first_id = resources_.ids->first();
  kept.plan = plan_;
  kept.address = guest_.work().address;
  for (const Share& share : resources_.shares) kept.servers.push_back(share.server());
  for (const Mark mark : kKeptMarks) {
    if (const auto at = timeline().at(mark)) kept.marks[mark] = *at;
  }
  return kept;
}

void VmInstance::adopt(const Kept& kept, const LogLimits& limits) {
  kept_ = true;
  for (const auto& [mark, at] : kept.marks) timeline().mark(mark, at);
  auto output = std::make_unique<KeptOutput>(resources_.directory.path(), limits, guest_.log());
  const bool lives = emulator_.adopt();
  const auto ended = kept_exit(resources_.directory.path());
  if (ended || !lives) {
    if (emulator_.kill()) emulator_.reap();
    if (!ended && !resources_.group->processes().empty()) {
      throw Error(Code::failed, who_ + ": its QEMU lives, and libvirt does not know it");
    }
    return guest_.over(ended, std::move(output));
  }
  state_ = emulator_.stands_still() ? State::paused : State::running;
  guest_.attach(plan_.channel.string(), std::move(output));
  if (state_.load() == State::running) guest_.await_attached(Deadline::in(kAnswer));
}

void VmInstance::leave() {
  if (!kept_) return;
  const std::lock_guard change(change_mutex_);
  if (state_.load() == State::removed) return;
  guest_.leave();
  const std::lock_guard lock(resources_mutex_);
  resources_.leave();
  left_ = true;
}

// ---- clones

void VmInstance::park() {
  pause();
  resources_.started_as = Start::parked;
}

void VmInstance::take(const Workload& workload, Timeline& timeline) {
  const Deadline deadline = Deadline::in(workload.start_timeout);
  if (!workload.publish.empty()) {
    resources_.ports = hold_ports(workload.publish, who_);
    if (resources_.place) resources_.place->publish(workload.publish);
  }
  timeline_ = &timeline;
  timeline.mark(Mark::prepared);
  timeline.take(Course::clone);
  guest_.resume(timeline);
  resume();
  timeline.mark(Mark::launched);
  guest_.await_told(deadline);
  timeline.note(Moment::identified, Instant::now());
}

Guest::Past VmInstance::freeze(const std::filesystem::path& state, const std::filesystem::path& disk, Deadline deadline) {
  Guest::Past past = guest_.freeze(
      deadline, [this] { pause(); }, [this] { resume(); });
  emulator_.save_state(state, deadline);
  copy_sparse(plan_.scratch.file, disk);  // a machine whose state has gone has written all that it will
  return past;
}

void VmInstance::create(const std::string& xml) try { emulator_.create(xml, *resources_.group); } catch (const Error&) {
  // QEMU's word of a virtiofsd that is gone is not why it went.
  for (Share& share : resources_.shares) {
    if (const std::string said = share.last_words(); !said.empty()) throw Error(Code::failed, who_ + ": " + said);
  }
  throw;
}

// ---- on the channel's thread

void VmInstance::on_exiting() {
  const std::lock_guard lock(resources_mutex_);
  final_usage_ = host_usage();  // QEMU's memory can be read only while it lives
  state_ = State::exited;
}

// The log is complete and the disk dies with the guest. A QEMU that ends by itself closes its monitor first and its process later, and
// libvirt then waits 200 ms; killed, it is gone at once.
void VmInstance::on_exited() {
  const auto exit = guest_.exit();
  if (const auto at = timeline().at(Mark::exited); kept_ && exit && at) tare::vm::keep(KeptExit{*exit, *at}, resources_.directory);
  if (!emulator_.kill()) guest_.power_off();
}

void VmInstance::on_ended(bool nonsense) {
  if (nonsense) emulator_.kill();
  emulator_.reap();
}

// ---- while it runs

void VmInstance::require_running(std::string_view action) const {
  const State now = state_.load();
  if (now == State::running || now == State::paused) return;
  throw Error(Code::conflict, who_ + " is " + std::string(tare::name(now)) + ": cannot " + std::string(action) + " it");
}

// Under resources_mutex_.
Usage VmInstance::host_usage() const {
  Usage usage = resources_.group->usage();
  if (const auto side = emulator_.host_side()) {
    usage.vm_cpu_vcpu = side->vcpu;
    usage.vm_cpu_emulator = side->emulator;
    usage.vm_cpu_iothread = side->iothread;
    usage.vm_cpu_vhost = side->vhost;
    usage.vm_vcpu_delay = side->vcpu_delay;
    if (plan_.accelerator == Accelerator::kvm) usage.vm_exits = emulator_.exits();
  }
  return usage;
}

Usage VmInstance::usage() const {
  Usage usage;
  {
    const std::lock_guard lock(resources_mutex_);
    if (final_usage_) usage = *final_usage_;
    if (!usage.memory && resources_.group) usage = host_usage();
    if (resources_.tap) {
      const auto counted = netlink::counters(resources_.tap->name());  // the tap's end: what it receives is what the guest sends
      usage.network_receive = Bytes{counted.transmitted};
      usage.network_transmit = Bytes{counted.received};
    }
  }
  // Last: the guest's answer costs CPU time on QEMU's account.
  if (const auto guest = state_.load() == State::running ? guest_.ask_usage() : guest_.last_usage()) {
    usage.guest_cpu = std::chrono::nanoseconds(guest->cpu_nanoseconds);
    usage.guest_steal = std::chrono::nanoseconds(guest->steal_nanoseconds);
    usage.guest_memory_used = Bytes{guest->memory_used};
    usage.guest_memory_total = Bytes{guest->memory_total};
    usage.guest_io_read = Bytes{guest->disk.in_bytes};
    usage.guest_io_write = Bytes{guest->disk.out_bytes};
    usage.guest_io_reads = guest->disk.in;
    usage.guest_io_writes = guest->disk.out;
    if (plan_.interface) {
      usage.guest_network_receive = Bytes{guest->network.in_bytes};
      usage.guest_network_transmit = Bytes{guest->network.out_bytes};
    }
    usage.oom_kills = guest->oom_kills;  // the host's group holds QEMU, which has no limit
  }
  return usage;
}

std::vector<Trait> VmInstance::traits() const {
  std::vector<Trait> all = plan_.traits;
  if (!plan_.host) return all;
  if (const auto facts = guest_.facts()) {
    for (Trait& row : parity(*plan_.host, *facts)) all.push_back(std::move(row));
  } else {
    all.push_back({"parity", "unknown: the guest did not say what it sees", true});
  }
  return all;
}

std::vector<std::string> VmInstance::remarks() const {
  std::vector<std::string> all;
  for (const auto& [key, text] : description(missing(traits()))) {
    all.push_back("vm profile " + std::string(name(plan_.profile)) + ": " + key + ": " + text);
  }
  return all;
}

std::map<std::string, std::string> VmInstance::protections() const {
  const GuestWork& work = guest_.work();
  std::map<std::string, std::string> all = {{"kernel", "its own"},
                                            {"accelerator", std::string(tare::vm::name(plan_.accelerator))},
                                            {"emulator", resources_.confinement},
                                            {"capabilities", std::string(work.command.restricted ? "the container's 14" : "all")},
                                            {"no_new_privs", std::string(work.command.restricted ? "1" : "0")},
                                            {"user", image::text_of(work.command.user)}};
  all["profile"] = name(plan_.profile);
  all.merge(description(traits()));
  if (plan_.interface) all["packets"] = emulator_.has_vhost() ? "moved by the host's kernel: vhost-net" : "moved by QEMU";
  if (!work.resolver_note.empty()) all["name_servers"] = work.resolver_note;
  const std::lock_guard lock(resources_mutex_);
  if (!resources_.shares.empty()) all["shares"] = "virtiofsd as root, in namespaces and a seccomp filter of its own";
  if (resources_.place) all.merge(bridge::description(resources_.place->place()));
  return all;
}

void VmInstance::signal(int number) {
  require_running("signal");
  guest_.signal(number);
}

void VmInstance::pause() {
  const std::lock_guard change(change_mutex_);
  require_running("pause");
  emulator_.pause();
  State running = State::running;
  state_.compare_exchange_strong(running, State::paused);  // it may have ended meanwhile
}

void VmInstance::resume() {
  const std::lock_guard change(change_mutex_);
  require_running("resume");
  emulator_.resume();
  guest_.recalibrate();
  State paused = State::paused;
  state_.compare_exchange_strong(paused, State::running);
}

void VmInstance::update(const Limits& limits) {
  const std::lock_guard change(change_mutex_);
  require_running("update");
  resources_.group->update(host_change(limits, plan_.vcpus, who_));
}

std::unique_ptr<Exec> VmInstance::start_exec(const ExecRequest& request, Deadline deadline) {
  require_running("exec in");
  if (state_.load() == State::paused) throw Error(Code::conflict, who_ + " is paused: cannot exec in it", "resume it first");
  return guest_.start_exec(request, deadline);
}

// ---- the end

Exit VmInstance::stop(std::chrono::nanoseconds grace) {
  timeline().mark(Mark::stopping);
  try {
    if (state_.load() == State::paused) resume();
    if (state_.load() == State::running) signal(SIGTERM);
    if (const auto exit = wait(Deadline::in(grace))) return *exit;
    guest_.kill_all();
    if (const auto exit = wait(Deadline::in(kAfterKill))) return *exit;
  } catch (const Error&) {  // it ended while we asked it to
    if (const auto exit = guest_.exit()) return *exit;
    if (!guest_.wait_ended(Deadline::in(std::chrono::nanoseconds(0)))) throw;
  }
  kill();  // a guest that does not answer
  state_ = State::exited;
  return guest_.assume_killed();
}

void VmInstance::kill() {
  guest_.expect_end();
  const bool killed = emulator_.kill();
  if (!killed) emulator_.destroy();
  if (killed && !guest_.has_channel()) return emulator_.reap();  // else the channel's thread does
  // With QEMU elsewhere libvirt's word is all there is.
  const Deadline deadline = Deadline::in(kLibvirtEnd);
  const bool gone = killed ? guest_.wait_ended(deadline) : emulator_.wait_stopped(deadline);
  if (!gone) emulator_.destroy();
}

void VmInstance::release() {
  emulator_.forget();
  guest_.end();
  {
    const std::lock_guard lock(resources_mutex_);
    resources_.shares.clear();
  }
  if (resources_.group && !resources_.group->kill_all(Deadline::in(kAfterKill))) {
    throw Error(Code::failed, who_ + ": processes stay in control group " + resources_.group->path());
  }
  const std::lock_guard lock(resources_mutex_);
  if (resources_.place) resources_.place->remove();
  resources_.place.reset();
  if (resources_.tap) resources_.tap->remove();
  resources_.tap.reset();
  resources_.group.reset();
  resources_.pins.reset();
  resources_.ids.reset();
  resources_.directory.remove();
  resources_.after.reset();
}

void VmInstance::remove() {
  const std::lock_guard change(change_mutex_);
  if (state_.load() == State::removed) return;
  if (emulator_.created()) kill();
  {
    const std::lock_guard lock(resources_mutex_);
    if (!final_usage_ && resources_.group) final_usage_ = host_usage();
  }
  release();
  state_ = State::removed;
  timeline().mark(Mark::removed);
}

}  // namespace tare::vm
