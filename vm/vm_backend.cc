// SPDX-License-Identifier: Apache-2.0
#include "vm/vm_backend.h"

#include <unistd.h>

#include <map>
#include <mutex>
#include <system_error>

#include "core/bytes.h"
#include "core/error.h"
#include "core/files.h"
#include "core/listener.h"
#include "core/netlink.h"
#include "core/parking.h"
#include "core/readiness.h"
#include "core/resolver.h"
#include "image/process.h"
#include "vm/clone.h"
#include "vm/connection.h"
#include "vm/cpu_claims.h"
#include "vm/guest_kernel.h"
#include "vm/machinery.h"
#include "vm/parity.h"
#include "vm/profile.h"
#include "vm/scratch_disk.h"
#include "vm/vm_instance.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

// The files to which a process of one thread writes "0" to enter `group`: `tasks` on v1, cgroup.procs on v2.
std::string entrances(const ControlGroup& group) {
  const auto path_of = [](int fd) { return fs::read_symlink("/proc/self/fd/" + std::to_string(fd)).string(); };
  std::string list;
  for (const int fd : group.tasks_fds()) list.append(list.empty() ? "" : ":").append(path_of(fd));
  if (list.empty() && group.directory_fd() >= 0) list = path_of(group.directory_fd()) + "/cgroup.procs";
  return list;
}

/// But for what is of the agent, and of the one instance that has it.
Workload shape_of(Workload workload) {
  workload.start = Start::restored;
  workload.publish.clear();
  workload.log = {};
  return workload;
}

/// All that an instance has before its machine.
struct Site {
  VmPlan plan;
  GuestWork work;
  std::string who;  // "vm 'serve'", for sentences
  VmResources resources;
};

void make_scratch(const fs::path& from, const VmPlan& plan) {
  copy_sparse(from, plan.scratch.file);
  if (plan.user) change_owner(plan.scratch.file, *plan.user);
}

class VmBackend final : public Backend {
 public:
  explicit VmBackend(VmParts parts) : parts_(std::move(parts)) {
    // libvirt, QEMU and sockets in paths need them absolute.
    parts_.paths.state = fs::absolute(parts_.paths.state);
    send_log_to_file(parts_.paths);
    parking_ = std::make_shared<Parking<ParkedGuest>>(parts_.parked);
  }

  std::string_view name() const override { return "vm"; }
  Probe probe() const override;
  void prepare(const Workload& workload) override;
  ~VmBackend() override { parking_->close(); }
  void give_up_parked() override {
    parking_->clear();
    frozen_.clear();
  }
  std::unique_ptr<Instance> start(const Workload& workload, Timeline& timeline) override { return start_in({}, workload, timeline); }
  std::unique_ptr<Instance> start_kept(const Record& record, const Workload& workload, Timeline& timeline) override;
  std::unique_ptr<Instance> adopt(InstanceDir& directory, const Workload& workload, Timeline& timeline) override;

 private:
  std::shared_ptr<const Machinery> machinery() const;
  void forget_untested() const;
  VmProfile profile_of(const Workload& workload) const { return workload.vm_profile.value_or(parts_.settings.profile); }
  BootKernel kernel_for(VmProfile profile) const;
  fs::path initramfs_for(const KernelFiles& kernel, Machine machine, const Extras& extras) const;
  bool embedded() const { return parts_.settings.uri.empty(); }
  bool confined() const { return embedded() && parts_.settings.confinement == Confinement::hardened; }
  fs::path emulator() const { return executed_for(parts_.settings.emulator); }
  fs::path executed_for(const fs::path& emulator) const { return executed_emulator(parts_.paths, parts_.settings, emulator); }
  VmPlan shaped_plan(const Workload& workload, std::shared_ptr<void>& pins) const;
  VmPlan plan_of(const Workload& workload, const image::Image& image, const std::string& id, std::shared_ptr<void>& pins) const;
  void find_files(VmPlan& plan) const;
  GuestWork work_of(const Workload& workload, const image::Image& image, const std::string& id) const;
  bridge::Settings bridge_settings() const { return {parts_.bridge_range, parts_.paths.network_lock(), parts_.keeps_bridge}; }
  Site build(const Record& record, const Workload& workload) const;
  std::unique_ptr<VmInstance> start_in(const Record& record, const Workload& workload, Timeline& timeline);
  std::unique_ptr<VmInstance> make(Site site, const Record& record, const Workload& workload, Timeline& timeline) const;
  std::unique_ptr<VmInstance> boot(const Record& record, const Workload& workload, std::optional<MemoryFile> memory,
                                   Timeline& timeline) const;
  std::shared_ptr<const Frozen> freeze(const Workload& shape) const;
  std::unique_ptr<VmInstance> restore(const Record& record, const Workload& workload, const Frozen& frozen, Timeline& timeline) const;
  ParkedGuest park(const Workload& shape, const Frozen& frozen) const;
  void add_link(const std::string& id, VmResources& resources, VmPlan& plan, GuestWork& work) const;
  void add_shares(const std::string& who, VmResources& resources, VmPlan& plan, GuestWork& work) const;
  VmResources adopted(InstanceDir& own, const Workload& workload, const Kept& kept, const std::string& who) const;
  void add_place(const Workload& workload, VmResources& resources, VmPlan& plan, GuestWork& work) const;

  VmParts parts_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Machinery> machinery_;
  mutable std::map<std::string, fs::path> initramfs_;  // by kernel, machine and what its guest needs
  mutable std::optional<BootKernel> host_kernel_;
  mutable CpuClaims claims_;
  FrozenGuests frozen_;
  std::shared_ptr<Parking<ParkedGuest>> parking_;
};

std::shared_ptr<const Machinery> VmBackend::machinery() const {
  const std::lock_guard lock(mutex_);
  if (!machinery_) machinery_ = std::make_shared<const Machinery>(make_machinery(parts_.paths, parts_.settings));
  return machinery_;
}

// What followed from a missing or closed /dev/kvm is asked anew: whoever did what the remedy says sees it at the next look.
void VmBackend::forget_untested() const {
  const std::lock_guard lock(mutex_);
  if (machinery_ && !machinery_->verdict.tested) machinery_.reset();
}

BootKernel VmBackend::kernel_for(VmProfile profile) const {
  const auto with = machinery();
  if (profile != VmProfile::matched) return {with->kernel, with->elf};
  const std::lock_guard lock(mutex_);
  if (!host_kernel_) host_kernel_ = kernel_of_host(parts_.paths, *with);
  return *host_kernel_;
}

fs::path VmBackend::initramfs_for(const KernelFiles& kernel, Machine machine, const Extras& extras) const {
  const std::lock_guard lock(mutex_);
  fs::path& file = initramfs_[kernel.modules.string() + " " + std::string(tare::vm::name(machine)) + (extras.network ? " network" : "") +
                              (extras.shares ? " shares" : "")];
  if (file.empty()) file = initramfs(parts_.paths, kernel, machine == Machine::microvm ? Transport::mmio : Transport::pci, extras);
  return file;
}

Probe VmBackend::probe() const {
  Probe probe;
  try {
    forget_untested();
    const auto shared = machinery();
    const Machinery& with = *shared;
    probe.able = true;
    probe.emulated = with.verdict.accelerator == Accelerator::tcg;
    probe.reason = with.verdict.reason;
    probe.remedy = with.verdict.remedy;
    probe.accelerator = tare::vm::name(with.verdict.accelerator);
    probe.implementation = with.connection->versions();
    probe.details["machine"] = tare::vm::name(parts_.settings.machine);
    probe.details["profile"] = tare::name(parts_.settings.profile);
    probe.details["guest_kernel"] = with.kernel.release;
    VmPlan plan;
    plan.accelerator = with.verdict.accelerator;
    plan.tsc_khz = with.tsc_khz;
    probe.details["guest_command_line"] = command_line(plan);
    probe.details["cpus"] = "limits.cpus rounded up to virtual CPUs; QEMU itself has no CPU quota";
    if (!embedded()) {
      probe.details["usage"] = "QEMU enters its control group when libvirtd has made it: what it used before that is not counted";
    }
    probe.details["memory"] = "limits.memory is the guest's RAM, its kernel included; " + text_of(kDefaultMemory) + " without a limit";
    probe.details["pids"] = "pids controller in the guest";
    probe.details["update"] =
        "cpus up to the virtual CPUs, cpu_weight, cpuset, memory_nodes, io_weight, io; memory and pids are fixed at the start";
    if (embedded()) probe.details["survives_agent"] = "yes";
    probe.details["mounts"] = "tmpfs of the guest's own memory; binds and volumes by virtiofs, one virtiofsd each, cache=auto";
    probe.details["disk"] = "EROFS image below, ext4 on a sparse raw file above, cache=" + parts_.settings.cache;
  } catch (const Error& error) {
    probe.reason = error.sentence();
    probe.remedy = error.hint();
  }
  return probe;
}

void VmBackend::prepare(const Workload& workload) {
  refuse_what_is_missing(workload);
  std::shared_ptr<void> pins;
  const VmPlan plan = shaped_plan(workload, pins);
  const auto with = machinery();
  if (plan.emulator != emulator()) with->connection->learn_capabilities(plan.emulator.string(), "kvm");
  scratch_template(parts_.paths);
  if (workload.network == Network::bridge && parts_.keeps_bridge) bridge::prepare(bridge_settings());
  parts_.images->make_erofs(parts_.images->resolve(workload.image));
  if (workload.start == Start::cold) return;
  const Workload shape = shape_of(workload);
  const auto frozen = frozen_.find_or_make(shape, [&] { return freeze(shape); });
  if (workload.start == Start::parked) parking_->fill(shape, [this, shape, frozen] { return park(shape, *frozen); });
}

// All of it that does not depend on the instance.
VmPlan VmBackend::shaped_plan(const Workload& workload, std::shared_ptr<void>& pins) const {
  const auto with = machinery();
  VmPlan plan;
  plan.accelerator = with->verdict.accelerator;
  plan.machine = parts_.settings.machine;
  plan.emulator = emulator();
  plan.device = parts_.settings.device;
  plan.vcpus = vcpus_for(workload.limits);
  plan.memory = memory_for(workload.limits);
  plan.tsc_khz = with->tsc_khz;
  const VmProfile profile = profile_of(workload);
  if (profile != VmProfile::tuned) set_cache(plan, parts_.settings.cache);
  if (workload.start != Start::cold && (profile == VmProfile::matched || profile == VmProfile::tuned)) {
    throw Error(Code::unsuited,
                "vm '" + workload.name + "' has no start: " + std::string(tare::name(workload.start)) + " with profile " +
                    std::string(tare::name(profile)) + ": its memory and CPUs are its own, and not a template's",
                "use `start: cold`, or the profile default or minimal");
  }
  if (profile != VmProfile::standard) {
    fs::create_directories(parts_.paths.instances());
    HostOffer offer = host_offer(parts_.paths.instances());
    if (embedded() && !offer.slim_emulator.empty()) {
      offer.slim_emulator = executed_for(offer.slim_emulator);
      link_emulator(parts_.paths, offer.slim_emulator);
    }
    pins = claims_.claim([&](const std::vector<unsigned>& busy) {
      shape(plan, profile, workload.limits, offer, busy);
      return plan.vcpu_pins;
    });
    if (profile == VmProfile::matched) plan.host = host_facts(plan, workload.limits, offer);
  }
  const BootKernel kernel = kernel_for(profile);
  plan.kernel = kernel.elf;
  plan.initramfs = initramfs_for(kernel.files, plan.machine, {workload.network != Network::none, needs_share(workload)});
  return plan;
}

VmPlan VmBackend::plan_of(const Workload& workload, const image::Image& image, const std::string& id, std::shared_ptr<void>& pins) const {
  VmPlan plan = shaped_plan(workload, pins);
  plan.name = id;
  plan.image.file = parts_.images->erofs(image);
  plan.image.read_only = true;
  find_files(plan);
  return plan;
}

// In the instance's directory.
void VmBackend::find_files(VmPlan& plan) const {
  const fs::path directory = parts_.paths.instances() / plan.name;
  plan.scratch.file = directory / "disk.img";
  plan.channel = directory / "channel";
  plan.console = directory / "console";
}

GuestWork VmBackend::work_of(const Workload& workload, const image::Image& image, const std::string& id) const {
  if (workload.network == Network::host) {
    throw Error(Code::invalid, "vm '" + workload.name + "' cannot have the host's network: its kernel has its own",
                "use `network: link` or `network: bridge`");
  }
  GuestWork work;
  work.token = hex_of(random_bytes(guest::kTokenSize / 2));
  work.hostname = workload.hostname.empty() ? id : workload.hostname;
  image::Process process = image::process_of(workload, image, work.hostname);
  GuestCommand& command = work.command;
  command.program = std::move(process.program);
  command.arguments = std::move(process.arguments);
  command.environment = std::move(process.environment);
  command.directory = std::move(process.directory);
  command.user = std::move(process.user);
  command.umask = workload.umask;
  command.limits = resource_limits({std::begin(kStandardLimits), std::end(kStandardLimits)}, workload.ulimits);
  command.open_stdin = workload.open_stdin;
  command.tty = workload.tty;
  command.terminal = workload.terminal;
  command.restricted = workload.security != Security::none;
  work.mounts = guest_mounts(workload);
  work.read_only_root = workload.read_only_root;
  work.image = image;
  work.asks_facts = profile_of(workload) == VmProfile::matched;
  work.pids = static_cast<std::uint64_t>(workload.limits.pids.value_or(0));
  const Resolver resolver = resolver_of(workload, false);
  work.resolver = resolver.text;
  work.resolver_note = resolver.note;
  return work;
}

void VmBackend::add_link(const std::string& id, VmResources& resources, VmPlan& plan, GuestWork& work) const {
  resources.tap.emplace(netlink::interface_name(id, 't'));
  const auto subnet = netlink::claim_subnet(resources.tap->name(), parts_.paths.network_lock().string());
  plan.interface = Interface{resources.tap->name(), mac_address(id)};
  resources.tap->set_neighbour(subnet.instance, plan.interface->mac);
  work.address = subnet.instance + "/" + std::to_string(subnet.prefix);
  work.gateway = subnet.host;
  work.gateway_mac = resources.tap->mac();
}

void VmBackend::add_place(const Workload& workload, VmResources& resources, VmPlan& plan, GuestWork& work) const {
  resources.tap.emplace(netlink::interface_name(plan.name, 't'));
  resources.place = bridge::Member::by_tap(bridge_settings(), plan.name, resources.tap->name());
  resources.place->publish(workload.publish);
  const bridge::Place& place = resources.place->place();
  plan.interface = Interface{place.interface, place.mac};
  work.address = place.address + "/" + std::to_string(place.prefix);
  work.gateway = place.gateway;
  work.gateway_mac = place.gateway_mac;
}

void VmBackend::add_shares(const std::string& who, VmResources& resources, VmPlan& plan, GuestWork& work) const {
  const Share::Settings settings{parts_.paths, resources.directory.path(), entrances(*resources.group), plan.user, who};
  for (GuestMount& mount : work.mounts) {
    if (mount.kind == guest::MountAt::Kind::tmpfs) continue;
    if (!embedded()) {
      throw Error(Code::unsuited, who + ": mount " + mount.what.target + ": a libvirtd's QEMU is not given directories of the host",
                  "set vm.connection to embed, or leave the mount out");
    }
    const Share& share = resources.shares.emplace_back(mount.what, mount.share, settings);
    if (share.is_file()) mount.kind = guest::MountAt::Kind::file;
    plan.shares.push_back(share.socket());
  }
}

Site VmBackend::build(const Record& record, const Workload& workload) const {
  const std::string id = new_instance_id();
  const std::string who = "vm '" + workload.name + "'";
  refuse_what_is_missing(workload);
  const image::Image image = parts_.images->resolve(workload.image);
  std::shared_ptr<void> pins;
  VmPlan plan = plan_of(workload, image, id, pins);
  Site site{std::move(plan), work_of(workload, image, id), who, {nullptr, machinery()->connection, InstanceDir(parts_.paths, id)}};
  VmResources& resources = site.resources;
  if (record) record(resources.directory);
  resources.ports = hold_ports(workload.publish, who);
  resources.pins = std::move(pins);
  // No CPU quota or memory limit on QEMU: its virtual CPUs and its guest's memory are the limit, and its own overhead is what we weigh.
  resources.group = parts_.groups->create(id, host_limits(workload.limits, who));
  resources.confinement = !embedded() ? "as libvirtd is configured" : !confined() ? "none: root, with all of the host" : "hardened";
  if (confined()) {
    resources.ids = IdRange::claim(parts_.paths.id_ranges(), resources.directory.path());
    site.plan.user = resources.ids->first();
    site.plan.stage = parts_.paths.mount_point();
    fs::create_directories(site.plan.stage);
    resources.confinement +=
        ": QEMU's seccomp filter, no capabilities, user " + std::to_string(*site.plan.user) + " of the host in a root without it";
  }
  add_shares(who, resources, site.plan, site.work);
  if (workload.network == Network::link) {
    add_link(id, resources, site.plan, site.work);
  } else if (workload.network == Network::bridge) {
    add_place(workload, resources, site.plan, site.work);
  }
  if (embedded()) site.plan.environment.emplace_back("TARE_TASKS", entrances(*resources.group));
  resources.emulator = std::make_unique<Emulator>(resources.connection, id, who);
  return site;
}

std::unique_ptr<VmInstance> VmBackend::make(Site site, const Record& record, const Workload& workload, Timeline& timeline) const {
  auto instance =
      std::make_unique<VmInstance>(std::move(site.plan), std::move(site.work), std::move(site.who), std::move(site.resources), timeline);
  if (record) instance->keep(workload.log);
  return instance;
}

std::unique_ptr<VmInstance> VmBackend::boot(const Record& record, const Workload& workload, std::optional<MemoryFile> memory,
                                            Timeline& timeline) const {
  Site site = build(record, workload);
  make_scratch(scratch_template(parts_.paths), site.plan);
  site.plan.memory_file = std::move(memory);
  const std::string xml = domain_xml(site.plan);
  timeline.mark(Mark::prepared);
  auto instance = make(std::move(site), record, workload, timeline);
  instance->boot(xml, Deadline::in(workload.start_timeout));
  return instance;
}

std::shared_ptr<const Frozen> VmBackend::freeze(const Workload& shape) const {
  const Deadline deadline = Deadline::in(shape.start_timeout);
  auto frozen = std::make_shared<Frozen>(parts_.paths);
  Timeline timeline;
  timeline.mark(Mark::requested);
  const auto instance = boot({}, shape, MemoryFile{frozen->memory(), false}, timeline);
  await_ready(*instance, shape.ready, timeline, deadline);
  frozen->past = instance->freeze(frozen->state(), frozen->disk(), deadline);
  instance->remove();
  return frozen;
}

std::unique_ptr<VmInstance> VmBackend::restore(const Record& record, const Workload& workload, const Frozen& frozen,
                                               Timeline& timeline) const {
  Site site = build(record, workload);
  make_scratch(frozen.disk(), site.plan);
  site.plan.memory_file = MemoryFile{frozen.memory(), true};
  site.resources.started_as = Start::restored;
  const std::string xml = domain_xml(site.plan);
  timeline.mark(Mark::prepared);
  const Deadline deadline = Deadline::in(workload.start_timeout);
  site.resources.emulator->create(xml, *site.resources.group, true);
  site.resources.emulator->load_state(frozen.state(), deadline);
  auto instance = make(std::move(site), record, workload, timeline);
  instance->wake(frozen.past, deadline);
  return instance;
}

// It has been ready under its own name and address, so that nothing is left to do but to let it go on.
ParkedGuest VmBackend::park(const Workload& shape, const Frozen& frozen) const {
  ParkedGuest parked{std::make_unique<Timeline>(), nullptr};
  parked.timeline->mark(Mark::requested);
  parked.instance = restore({}, shape, frozen, *parked.timeline);
  await_ready(*parked.instance, shape.ready, *parked.timeline, Deadline::in(shape.start_timeout));
  parked.instance->park();
  return parked;
}

std::unique_ptr<VmInstance> VmBackend::start_in(const Record& record, const Workload& workload, Timeline& timeline) {
  if (workload.start == Start::cold) return boot(record, workload, std::nullopt, timeline);
  const Workload shape = shape_of(workload);
  if (workload.start == Start::parked) {
    if (auto parked = parking_->take(shape)) {
      if (record) {
        record(parked->instance->directory());
        parked->instance->keep(workload.log);
      }
      parked->instance->take(workload, timeline);
      return std::move(parked->instance);
    }
  }
  if (const auto frozen = frozen_.find(shape)) return restore(record, workload, *frozen, timeline);
  return boot(record, workload, std::nullopt, timeline);
}

std::unique_ptr<Instance> VmBackend::start_kept(const Record& record, const Workload& workload, Timeline& timeline) {
  if (!embedded()) return start_in({}, workload, timeline);
  auto instance = start_in(record, workload, timeline);
  keep(instance->kept(fs::absolute(parts_.paths.run)), instance->directory());
  return instance;
}

/// What build() makes, found again.
VmResources VmBackend::adopted(InstanceDir& own, const Workload& workload, const Kept& kept, const std::string& who) const {
  const std::string id = own.instance_id();
  const auto with = machinery();  // first: whoever has the directory when this fails removes it
  VmResources resources{nullptr, with->connection, std::move(own)};
  resources.confinement = kept.confinement;
  resources.started_as = kept.started_as;
  try {
    if (kept.first_id) resources.ids = IdRange::adopt(parts_.paths.id_ranges(), *kept.first_id);
    resources.group = parts_.groups->adopt(id, host_limits(workload.limits, who));
    std::size_t server = 0;
    for (const GuestMount& mount : guest_mounts(workload)) {
      if (mount.kind == guest::MountAt::Kind::tmpfs) continue;
      resources.shares.emplace_back(mount.what, mount.share, resources.directory.path(),
                                    server < kept.servers.size() ? kept.servers[server] : "");
      ++server;
    }
    if (kept.plan.interface) resources.tap = Tap::adopt(kept.plan.interface->tap);
    if (workload.network == Network::bridge) resources.place = bridge::Member::find(bridge_settings(), id);
    resources.ports = hold_again(workload.publish, who);
    resources.pins = claims_.claim([&](const std::vector<unsigned>&) { return kept.plan.vcpu_pins; });
    resources.emulator = std::make_unique<Emulator>(resources.connection, id, who);
    return resources;
  } catch (const Error&) {
    resources.leave();
    throw;
  }
}

std::unique_ptr<Instance> VmBackend::adopt(InstanceDir& own, const Workload& workload, Timeline& timeline) {
  const std::string id = own.instance_id();
  const std::string who = "vm '" + workload.name + "'";
  const Kept kept = vm::kept(own.path());
  VmPlan plan = kept.plan;
  plan.name = id;
  find_files(plan);
  GuestWork work = work_of(workload, kept.image, id);
  work.token = kept.token;
  work.address = kept.address;
  VmResources resources = adopted(own, workload, kept, who);
  auto instance = std::make_unique<VmInstance>(std::move(plan), std::move(work), who, std::move(resources), timeline);
  try {
    instance->adopt(kept, workload.log);
  } catch (const Error&) {
    instance->leave();
    throw;
  }
  return instance;
}

}  // namespace

std::unique_ptr<Backend> make_backend(VmParts parts) { return std::make_unique<VmBackend>(std::move(parts)); }

}  // namespace tare::vm
