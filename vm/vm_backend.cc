// SPDX-License-Identifier: Apache-2.0
#include "vm/vm_backend.h"

#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "core/listener.h"
#include "core/netlink.h"
#include "core/resolver.h"
#include "vm/accelerator.h"
#include "vm/connection.h"
#include "vm/guest_kernel.h"
#include "vm/host_clock.h"
#include "vm/scratch_disk.h"
#include "vm/vm_instance.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

/// The image's environment with the workload's on top; HOME and HOSTNAME as Docker sets them.
std::vector<std::string> environment_of(const image::Image& image, const Workload& workload, const std::string& hostname) {
  std::vector<std::string> merged;
  const auto named = [&](std::string_view name) {
    return std::find_if(merged.begin(), merged.end(), [&](const std::string& entry) { return entry.substr(0, entry.find('=')) == name; });
  };
  const auto set = [&](const std::string& entry) {
    const auto old = named(entry.substr(0, entry.find('=')));
    if (old != merged.end()) merged.erase(old);
    merged.push_back(entry);
  };
  for (const std::string& entry : image.environment) set(entry);
  set("HOSTNAME=" + hostname);
  if (named("HOME") == merged.end()) set("HOME=/root");
  for (const std::string& entry : workload.environment) set(entry);
  return merged;
}

std::string first_of(const std::string& a, const std::string& b, const std::string& c) { return !a.empty() ? a : !b.empty() ? b : c; }

// What libvirt executes as QEMU: a link to tare-emulator by QEMU's name.
void link_emulator(const fs::path& link, const fs::path& target) {
  if (!fs::exists(target)) throw Error(Code::unavailable, "vm: " + target.string() + " is missing", "build and install all of tare");
  std::error_code error;
  if (fs::read_symlink(link, error) == target) return;
  const fs::path fresh = link.string() + "." + std::to_string(::getpid());
  fs::create_symlink(target, fresh);
  fs::rename(fresh, link);
}

// The files to which a process of one thread writes "0" to enter `group`: `tasks` on v1, cgroup.procs on v2.
std::string entrances(const ControlGroup& group) {
  const auto path_of = [](int fd) { return fs::read_symlink("/proc/self/fd/" + std::to_string(fd)).string(); };
  std::string list;
  for (const int fd : group.tasks_fds()) list.append(list.empty() ? "" : ":").append(path_of(fd));
  if (list.empty() && group.directory_fd() >= 0) list = path_of(group.directory_fd()) + "/cgroup.procs";
  return list;
}

/// What is made once for a process and serves all its instances.
struct Ready {
  std::shared_ptr<Connection> connection;
  KernelFiles kernel;
  fs::path elf;
  Verdict verdict;
  std::uint64_t tsc_khz = 0;
};

class VmBackend final : public Backend {
 public:
  explicit VmBackend(VmParts parts) : parts_(std::move(parts)) {
    // libvirt, QEMU and sockets in paths need them absolute.
    parts_.paths.state = fs::absolute(parts_.paths.state);
    send_log_to_file(parts_.paths);
  }

  std::string_view name() const override { return "vm"; }
  Probe probe() const override;
  void prepare(const Workload& workload) override;
  std::unique_ptr<Instance> start(const Workload& workload, Timeline& timeline) override;

 private:
  std::shared_ptr<const Ready> ready() const;
  Ready make_ready() const;
  void forget_untested() const;
  fs::path initramfs_for(const Workload& workload) const;
  // A libvirtd runs QEMU as a user of its own, who may not write to control groups: it gets QEMU itself, which is moved afterwards.
  bool embedded() const { return parts_.settings.uri.empty(); }
  fs::path emulator() const { return embedded() ? parts_.paths.guest() / parts_.settings.emulator.filename() : parts_.settings.emulator; }
  VmPlan plan_of(const Workload& workload, const image::Image& image, const std::string& id) const;
  GuestWork work_of(const Workload& workload, const image::Image& image, const std::string& id) const;
  void add_link(const std::string& id, VmResources& resources, VmPlan& plan, GuestWork& work) const;
  void add_place(const Workload& workload, VmResources& resources, VmPlan& plan, GuestWork& work) const;

  VmParts parts_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Ready> ready_;
  mutable fs::path initramfs_[2];  // without and with the network's modules
};

Ready VmBackend::make_ready() const {
  if (::geteuid() != 0) throw Error(Code::unsuited, "vm: tare is not root", "run it as root");
  if (!fs::exists(parts_.settings.emulator)) {
    throw Error(Code::unavailable, "vm: no QEMU at " + parts_.settings.emulator.string(), "apt-get install qemu-system-x86");
  }
  Ready out;
  out.kernel = find_kernel(parts_.paths, parts_.settings.kernel);
  out.elf = elf_image(parts_.paths, out.kernel);
  if (parts_.settings.accelerator) {
    out.verdict = {*parts_.settings.accelerator, "the accelerator was chosen by configuration",
                   "set accelerator to auto in agent.yaml, where another is wanted", true};
  } else {
    SelfTest test;
    test.emulator = parts_.settings.emulator;
    test.kernel = out.elf;
    test.initramfs = initramfs(parts_.paths, out.kernel, Transport::mmio, false);
    test.device = parts_.settings.device;
    test.deadline = parts_.settings.self_test;
    out.verdict = choose_accelerator(parts_.paths, test);
  }
  if (out.verdict.accelerator == Accelerator::tcg) out.tsc_khz = tsc_khz();
  out.connection = Connection::open(parts_.paths, parts_.settings.uri);
  if (embedded()) link_emulator(emulator(), parts_.paths.libexec / "tare-emulator");
  out.connection->learn_capabilities(emulator().string(), out.verdict.accelerator == Accelerator::kvm ? "kvm" : "qemu");
  return out;
}

std::shared_ptr<const Ready> VmBackend::ready() const {
  const std::lock_guard lock(mutex_);
  if (!ready_) ready_ = std::make_shared<const Ready>(make_ready());
  return ready_;
}

// What followed from a missing or closed /dev/kvm is asked anew: whoever did what the remedy says sees it at the next look.
void VmBackend::forget_untested() const {
  const std::lock_guard lock(mutex_);
  if (ready_ && !ready_->verdict.tested) ready_.reset();
}

fs::path VmBackend::initramfs_for(const Workload& workload) const {
  const auto with = ready();
  const bool network = workload.network != Network::none;
  const std::lock_guard lock(mutex_);
  fs::path& file = initramfs_[network ? 1 : 0];
  if (file.empty()) {
    const Transport transport = parts_.settings.machine == Machine::microvm ? Transport::mmio : Transport::pci;
    file = initramfs(parts_.paths, with->kernel, transport, network);
  }
  return file;
}

Probe VmBackend::probe() const {
  Probe probe;
  try {
    forget_untested();
    const auto shared = ready();
    const Ready& with = *shared;
    probe.able = true;
    probe.emulated = with.verdict.accelerator == Accelerator::tcg;
    probe.reason = with.verdict.reason;
    probe.remedy = with.verdict.remedy;
    probe.accelerator = tare::vm::name(with.verdict.accelerator);
    probe.implementation = with.connection->versions();
    probe.details["machine"] = tare::vm::name(parts_.settings.machine);
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
    probe.details["disk"] = "EROFS image below, ext4 on a sparse raw file above, cache=" + Disk{}.cache;
  } catch (const Error& error) {
    probe.reason = error.sentence();
    probe.remedy = error.hint();
  }
  return probe;
}

void VmBackend::prepare(const Workload& workload) {
  refuse_what_is_missing(workload);
  ready();
  initramfs_for(workload);
  scratch_template(parts_.paths);
  parts_.images->make_erofs(parts_.images->resolve(workload.image));
}

VmPlan VmBackend::plan_of(const Workload& workload, const image::Image& image, const std::string& id) const {
  const auto with = ready();
  const fs::path directory = parts_.paths.instances() / id;
  VmPlan plan;
  plan.name = id;
  plan.accelerator = with->verdict.accelerator;
  plan.machine = parts_.settings.machine;
  plan.emulator = emulator();
  plan.vcpus = vcpus_for(workload.limits);
  plan.memory = memory_for(workload.limits);
  plan.kernel = with->elf;
  plan.initramfs = initramfs_for(workload);
  plan.tsc_khz = with->tsc_khz;
  plan.image.file = parts_.images->erofs(image);
  plan.image.read_only = true;
  plan.scratch.file = directory / "disk.img";
  plan.channel = directory / "channel";
  plan.console = directory / "console";
  return plan;
}

GuestWork VmBackend::work_of(const Workload& workload, const image::Image& image, const std::string& id) const {
  if (workload.network == Network::host) {
    throw Error(Code::invalid, "vm '" + workload.name + "' cannot have the host's network: its kernel has its own",
                "use `network: link` or `network: bridge`");
  }
  // Better no start than one as root, or with other limits, where something else was asked for.
  if (!workload.user.empty() || workload.umask != 022 || !workload.ulimits.empty()) {
    throw Error(Code::unsuited, "vm '" + workload.name + "': a guest runs its workload as root with the limits of its own kernel",
                "leave out user, umask and ulimits, or leave out the backend vm");
  }
  GuestWork work;
  work.arguments = workload.command.empty() ? image.command : workload.command;
  if (work.arguments.empty()) {
    throw Error(Code::invalid, "workload '" + workload.name + "' has no command, and neither has image '" + workload.image + "'",
                "add `command:` to the workload");
  }
  work.hostname = workload.hostname.empty() ? id : workload.hostname;
  work.environment = environment_of(image, workload, work.hostname);
  work.directory = first_of(workload.working_directory, image.working_directory, "/");
  work.program = image::find_command(image, work.arguments[0], work.environment, work.directory);
  work.pids = static_cast<std::uint64_t>(workload.limits.pids.value_or(0));
  work.restricted = workload.security != Security::none;
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
  resources.place = bridge::Member::by_tap({parts_.bridge_range, parts_.paths.network_lock()}, plan.name, resources.tap->name());
  resources.place->publish(workload.publish);
  const bridge::Place& place = resources.place->place();
  plan.interface = Interface{place.interface, place.mac};
  work.address = place.address + "/" + std::to_string(place.prefix);
  work.gateway = place.gateway;
  work.gateway_mac = place.gateway_mac;
}

std::unique_ptr<Instance> VmBackend::start(const Workload& workload, Timeline& timeline) {
  const std::string id = new_instance_id();
  const std::string who = "vm '" + workload.name + "'";
  refuse_what_is_missing(workload);
  const image::Image image = parts_.images->resolve(workload.image);
  VmPlan plan = plan_of(workload, image, id);
  GuestWork work = work_of(workload, image, id);
  std::vector<Fd> ports = hold_ports(workload.publish, who);
  VmResources resources{ready()->connection, InstanceDir(parts_.paths, id), nullptr, std::nullopt};
  resources.ports = std::move(ports);
  copy_sparse(scratch_template(parts_.paths), plan.scratch.file);
  // No CPU quota or memory limit on QEMU: its virtual CPUs and its guest's memory are the limit, and its own overhead is what we weigh.
  resources.group = parts_.groups->create(id, host_limits(workload.limits, who));
  std::string address;
  if (workload.network == Network::link) {
    add_link(id, resources, plan, work);
  } else if (workload.network == Network::bridge) {
    add_place(workload, resources, plan, work);
  }
  if (!work.address.empty()) address = work.address.substr(0, work.address.find('/'));
  if (embedded()) plan.environment.emplace_back("TARE_TASKS", entrances(*resources.group));
  const std::string xml = domain_xml(plan);
  timeline.mark(Mark::prepared);
  auto instance = std::make_unique<VmInstance>(std::move(plan), std::move(work), who, address, std::move(resources), timeline);
  instance->boot(xml, Deadline::in(workload.start_timeout));
  return instance;
}

}  // namespace

std::unique_ptr<Backend> make_backend(VmParts parts) { return std::make_unique<VmBackend>(std::move(parts)); }

}  // namespace tare::vm
