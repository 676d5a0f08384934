// SPDX-License-Identifier: Apache-2.0
#include "container/native_backend.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <future>
#include <optional>

#include "container/attributes.h"
#include "container/devices.h"
#include "container/kept.h"
#include "container/mount_sources.h"
#include "container/native_instance.h"
#include "container/overlay.h"
#include "container/parked.h"
#include "container/seccomp_program.h"
#include "container/user_namespace.h"
#include "core/beside.h"
#include "core/error.h"
#include "core/files.h"
#include "core/listener.h"
#include "core/mount_rules.h"
#include "core/readiness.h"
#include "core/resolver.h"
#include "image/process.h"

namespace tare::container {
namespace {

namespace fs = std::filesystem;

void make_directory(const fs::path& path) {
  if (::mkdir(path.c_str(), 0755) != 0) throw_errno("make " + path.string());
}

void make_file(const fs::path& path, std::string_view content) {
  const Fd file = open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
  write_all(file.get(), content, path.string());
}

/// upper/ with the three files of /etc that belong to the instance and not to the image. Written before the overlay is mounted, so that
/// no link in the image is followed.
void make_layers(const fs::path& directory, const Plan& plan, const std::string& resolver) {
  for (const char* name : {"upper", "work", "upper/etc"}) make_directory(directory / name);
  std::string hosts = "127.0.0.1 localhost\n::1 localhost\n";
  if (plan.isolation.uts) hosts += "127.0.1.1 " + plan.hostname + "\n";
  make_file(directory / "upper/etc/hosts", hosts);
  make_file(directory / "upper/etc/hostname", plan.hostname + "\n");
  make_file(directory / "upper/etc/resolv.conf", resolver);
  if (!plan.isolation.has_own_ids()) return;
  for (const char* name : {"upper", "upper/etc", "upper/etc/hosts", "upper/etc/hostname", "upper/etc/resolv.conf"}) {
    if (::chown((directory / name).c_str(), plan.isolation.first_id, plan.isolation.first_id) != 0) {
      throw_errno("give " + (directory / name).string() + " to the user namespace");
    }
  }
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

void check_ports(const Workload& workload, const std::string& who) {
  for (const std::uint16_t port : workload.ports) {
    if (!port_in_use(port)) continue;
    const auto listener = listener_on(port);
    throw Error(Code::conflict, who + ": port " + std::to_string(port) + " is in use" + (listener ? " by " + *listener : ""),
                "stop that process or give the workload another port: it shares the host's ports");
  }
}

/// Said by what was asked for and not by what it would be: with the host's network a published port would be left out in silence.
void check_publish(const Workload& workload, const Isolation& isolation, const std::string& who) {
  if (workload.publish.empty() || isolation.net) return;
  throw Error(Code::invalid, who + " publishes port " + std::to_string(workload.publish[0].host) + ", and shares the host's network",
              "remove `publish`, or `net` from host_namespaces");
}

/// The network namespace of an instance, with what leads into it, or with loopback alone; empty for who shares the host's.
struct InstanceNetwork {
  std::unique_ptr<InstanceLink> link;
  std::optional<bridge::Member> place;
  Fd own;
  int netns() const { return link ? link->netns() : own.get(); }
};

/// Everything of an instance but its process.
struct Site {
  NativeResources resources;
  Plan plan;
  Fd users;  // the user namespace
  Fd netns;
  std::vector<Fd> trees;
};

std::vector<std::string> absolute(const std::vector<fs::path>& layers) {
  std::vector<std::string> paths;
  for (const fs::path& layer : layers) paths.push_back(fs::absolute(layer));
  return paths;
}

std::string names_of(const std::vector<fs::path>& layers) {
  std::string names;
  for (const fs::path& layer : layers) names += ":" + layer.string();
  return names;
}

/// What a workload has in common with all that can be started from the same parked things.
Workload shape_of(const Workload& workload, const image::Image& image) {
  Workload shape;
  if (workload.start == Start::zygote) {  // but for what is of the agent and not of the process
    shape = workload;
    shape.name = {};
    shape.ready = {};
    shape.start_timeout = {};
    shape.stop_grace = {};
    shape.image = image.digest + " " + names_of(image.layers);
    return shape;
  }
  shape.start = Start::pooled;  // what the process does is not made beforehand
  shape.image = names_of(image.layers);
  shape.hostname = workload.hostname;
  shape.limits = workload.limits;
  shape.devices = workload.devices;
  shape.security = workload.security;
  shape.network = workload.network;
  shape.dns = workload.dns;
  shape.host_namespaces = workload.host_namespaces;
  shape.userns = workload.userns;
  return shape;
}

class NativeBackend final : public Backend {
 public:
  NativeBackend(Native kind, NativeParts parts)
      : kind_(kind), parts_(std::make_shared<NativeParts>(std::move(parts))), parking_(std::make_shared<Parking<Parked>>(parts_->parked)) {}
  ~NativeBackend() override { parking_->close(); }

  std::string_view name() const override { return kind_ == Native::metal ? "metal" : "container"; }

  Probe probe() const override {
    Probe probe;
    probe.implementation = kind_ == Native::metal ? "process with a root filesystem and a control group" : "namespaces and control group";
    probe.details["cgroup"] = parts_->groups->layout();
    probe.details["survives_agent"] = "yes";
    probe.details["isolation"] = isolation({}).namespaces();
    if (::geteuid() != 0) {
      probe.reason = "tare is not root";
      probe.remedy = "run it as root";
      return probe;
    }
    if (try_read_file("/proc/filesystems").value_or("").find("\toverlay\n") == std::string::npos) {
      probe.reason = "this kernel has no overlayfs";
      probe.remedy = "modprobe overlay";
      return probe;
    }
    probe.able = true;
    return probe;
  }

  void prepare(const Workload& workload) override;
  void give_up_parked() override { parking_->clear(); }
  std::unique_ptr<Instance> start(const Workload& workload, Timeline& timeline) override { return start_in({}, workload, timeline); }
  std::unique_ptr<Instance> start_kept(const Record& record, const Workload& workload, Timeline& timeline) override {
    return start_in(record, workload, timeline);
  }
  std::unique_ptr<Instance> adopt(InstanceDir& directory, const Workload& workload, Timeline& timeline) override;

 private:
  std::unique_ptr<Instance> start_in(const Record& record, const Workload& workload, Timeline& timeline);
  std::unique_ptr<Instance> wake(Parked parked, const Record& record, const Workload& workload, Timeline& timeline);
  NativeResources new_resources(const Workload& workload) const;
  Fd make_root(NativeResources& resources, const Workload& workload, const image::Image& image, const Plan& plan, int users) const;
  Site build(std::optional<Parked> ground, const Record& record, const Workload& workload, const image::Image& image) const;
  Site begin(Parked ground, const Record& record, const Workload& workload, const image::Image& image) const;
  Parked make_pooled(const Workload& workload) const;
  Parked make_zygote(const Workload& workload) const;
  std::string who(const Workload& workload) const { return std::string(name()) + " '" + workload.name + "'"; }
  Isolation isolation(const Workload& workload) const {
    if (kind_ == Native::metal) return Isolation::none();
    Isolation isolation = Isolation::container(workload.security);
    isolation.share(workload.host_namespaces);
    if (workload.network == Network::host) isolation.net = false;
    return isolation;
  }
  Plan plan_of(const Workload& workload, const image::Image& image, const std::string& id, std::uint32_t first_id) const;
  std::unique_ptr<ControlGroup> make_group(const Workload& workload, const Plan& plan) const;
  InstanceNetwork make_network(const Workload& workload, const Plan& plan, int user_namespace, Fd made) const;
  bridge::Settings bridge_settings() const { return {parts_->bridge_range, parts_->paths.network_lock(), parts_->keeps_bridge}; }

  Native kind_;
  std::shared_ptr<NativeParts> parts_;
  std::shared_ptr<Parking<Parked>> parking_;
};

void NativeBackend::prepare(const Workload& workload) {
  const image::Image image = parts_->images->resolve(workload.image);
  const Plan plan = plan_of(workload, image, "t000000000000", workload.userns == Userns::automatic ? kFirstRange : 0);
  seccomp_file(plan.isolation);  // compiled, for later ones
  if (plan.isolation.net && workload.network == Network::bridge && parts_->keeps_bridge) bridge::prepare(bridge_settings());
  open_trees(plan.mounts, parts_->paths, who(workload));
  if (workload.start == Start::cold) return;
  parking_->fill(shape_of(workload, image),
                 [this, workload] { return workload.start == Start::zygote ? make_zygote(workload) : make_pooled(workload); });
}

Plan NativeBackend::plan_of(const Workload& workload, const image::Image& image, const std::string& id, std::uint32_t first_id) const {
  check_mounts(workload);
  if (workload.start == Start::restored || workload.start == Start::parked) {
    throw Error(Code::unsuited, who(workload) + " has no start: " + std::string(tare::name(workload.start)) + ": those are a VM's",
                "use `start: pooled` or `start: zygote`");
  }
  if (workload.userns == Userns::automatic) check_user_namespace(workload, kind_ == Native::container, who(workload));
  Plan plan;
  plan.key = id;
  plan.isolation = isolation(workload);
  plan.isolation.first_id = first_id;
  if (workload.start == Start::zygote && plan.isolation.net && !workload.publish.empty()) {
    throw Error(Code::unsuited, who(workload) + ": start: zygote cannot publish ports: only one process at a time can have a port",
                "use `start: pooled`, or leave `publish` out");
  }
  plan.hostname = !plan.isolation.uts ? host_name() : workload.hostname.empty() ? id : workload.hostname;
  image::Process process = image::process_of(workload, image, plan.hostname);
  plan.program = std::move(process.program);
  plan.arguments = std::move(process.arguments);
  plan.environment = std::move(process.environment);
  plan.working_directory = std::move(process.directory);
  plan.attributes = attributes_of(process.user, workload);
  if (plan.isolation.has_own_ids()) check_ids(plan.attributes, who(workload));
  plan.open_stdin = workload.open_stdin;
  plan.tty = workload.tty;
  plan.rows = workload.terminal.rows;
  plan.columns = workload.terminal.columns;
  plan.init = workload.init;
  plan.mounts = mount_plan(plan.isolation, workload, host_devices(workload, who(workload)), fs::absolute(parts_->paths.volumes()));
  const fs::path directory = parts_->paths.instances() / id;
  plan.root = fs::absolute(parts_->paths.mount_point());
  plan.log = fs::absolute(directory / "log");
  plan.log_max_size = workload.log.max_size.count;
  plan.log_max_files = static_cast<std::uint32_t>(workload.log.max_files);
  return plan;
}

std::unique_ptr<ControlGroup> NativeBackend::make_group(const Workload& workload, const Plan& plan) const {
  const auto devices = plan.isolation.device_list ? std::optional(devices_with(plan.mounts.devices)) : std::nullopt;
  return parts_->groups->create(plan.key, workload.limits, devices);
}

/// Runs on a thread made for it. `made` is the namespace, but for a user namespace's own.
InstanceNetwork NativeBackend::make_network(const Workload& workload, const Plan& plan, int user_namespace, Fd made) const {
  InstanceNetwork network;
  if (user_namespace >= 0) made = make_network_namespace(user_namespace);
  if (workload.network == Network::link) {
    fs::create_directories(parts_->paths.run);
    network.link = std::make_unique<InstanceLink>(plan.key, parts_->paths.network_lock(), std::move(made));
  } else if (workload.network == Network::bridge) {
    bridge::Namespace inside = bridge::Namespace::in(std::move(made));
    network.place = bridge::Member::by_veth(bridge_settings(), plan.key, inside);
    network.place->publish(workload.publish);
    network.own = std::move(inside.fd);
  } else {
    network.own = become_network_namespace(std::move(made));
  }
  return network;
}

std::string address_of(const Plan& plan, const NativeResources& resources) {
  if (resources.place) return resources.place->place().address;
  return !plan.isolation.net ? "127.0.0.1" : resources.link ? resources.link->address() : "";
}

NativeResources NativeBackend::new_resources(const Workload& workload) const {
  NativeResources resources{nullptr, {},      parts_, parts_->launcher, InstanceDir(parts_->paths, new_instance_id()), {},
                            nullptr, nullptr, {},     std::nullopt};
  if (workload.userns == Userns::automatic) {
    resources.ids = IdRange::claim(parts_->paths.id_ranges(), fs::absolute(resources.directory.path()));
  }
  return resources;
}

std::uint32_t first_id_of(const NativeResources& resources) { return resources.ids ? resources.ids->first() : 0; }

/// Without `ground`, which is of a pool, everything is made, on two processors: a control group takes as long as root file system and
/// network. The namespace of the network comes first there because it can be made for an instance that has no directory yet: if we are
/// killed it is gone, where a control group would stay and nobody know whose it is.
Site NativeBackend::build(std::optional<Parked> ground, const Record& record, const Workload& workload, const image::Image& image) const {
  const bool is_cold = !ground;
  const bool needs_network = isolation(workload).net && !(ground && ground->netns);
  std::optional<Site> site;
  InstanceNetwork network;
  std::future<Site*> begun;
  std::optional<Beside> beside;
  std::promise<Site*> beginning;  // goes first: whoever waits for it learns that nothing comes
  begun = beginning.get_future();
  if (is_cold || needs_network) {
    beside.emplace([&] {
      Fd made = needs_network && workload.userns == Userns::host ? make_network_namespace() : Fd();
      Site& known = *begun.get();
      if (is_cold) known.resources.root = make_root(known.resources, workload, image, known.plan, known.users.get());
      if (needs_network) network = make_network(workload, known.plan, known.users.get(), std::move(made));
    });
  }
  site = begin(ground ? std::move(*ground) : Parked{new_resources(workload), {}, {}, {}, {}}, record, workload, image);
  beginning.set_value(&*site);
  NativeResources& resources = site->resources;
  if (is_cold) resources.group = make_group(workload, site->plan);
  site->trees = open_trees(site->plan.mounts, parts_->paths, who(workload), {site->users.get(), first_id_of(resources)});
  if (beside) beside->join();
  if (!needs_network) return std::move(*site);
  resources.link = std::move(network.link);
  resources.place = std::move(network.place);
  site->netns = std::move(network.own);
  if (record && resources.link) keep(resources.link->subnet(), resources.directory);
  return std::move(*site);
}

/// The plan, and what says to the next agent that there is such an instance.
Site NativeBackend::begin(Parked ground, const Record& record, const Workload& workload, const image::Image& image) const {
  const std::string who = this->who(workload);
  const std::uint32_t first_id = first_id_of(ground.resources);
  Plan plan = plan_of(workload, image, ground.resources.directory.instance_id(), first_id);
  if (kind_ == Native::container) check_publish(workload, plan.isolation, who);
  if (!plan.isolation.net) check_ports(workload, who);
  if (plan.isolation.net) ground.resources.ports = hold_ports(workload.publish, who);
  if (record) {
    record(ground.resources.directory);
    keep(plan, ground.resources.started_as, ground.resources.directory);
  }
  if (first_id != 0 && !ground.users) ground.users = make_user_namespace(first_id);
  return {std::move(ground.resources), std::move(plan), std::move(ground.users), std::move(ground.netns), {}};
}

Fd NativeBackend::make_root(NativeResources& resources, const Workload& workload, const image::Image& image, const Plan& plan,
                            int users) const {
  const Resolver resolver = resolver_of(workload, !plan.isolation.net);
  resources.resolver_note = resolver.note;
  const fs::path directory = fs::absolute(resources.directory.path());
  if (::mkdir(plan.root.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("make " + plan.root);
  make_layers(directory, plan, resolver.text);
  open_file(plan.log + ".0", O_WRONLY | O_CREAT, 0600);  // the launcher would have to make it at the worst moment
  // nodev as far as a container goes: it makes its own /dev. metal works with the host's.
  return mount_overlay({absolute(image.layers), directory, !plan.isolation.own_kernel_views, users}, who(workload));
}

PlanFds descriptors_of(const Site& site) {
  PlanFds fds;
  fds.tasks = site.resources.group->tasks_fds();
  fds.cgroup_directory = site.resources.group->directory_fd();
  fds.netns = site.resources.link ? site.resources.link->netns() : site.netns.get();
  fds.userns = site.users.get();
  fds.root = site.resources.root.get();
  fds.seccomp = seccomp_file(site.plan.isolation);
  for (const Fd& tree : site.trees) fds.trees.push_back(tree.get());
  return fds;
}

Parked NativeBackend::make_pooled(const Workload& workload) const {
  Parked parked{new_resources(workload), {}, {}, {}, {}};
  const image::Image image = parts_->images->resolve(workload.image);
  const std::uint32_t first_id = first_id_of(parked.resources);
  const Plan plan = plan_of(workload, image, parked.resources.directory.instance_id(), first_id);
  if (first_id != 0) parked.users = make_user_namespace(first_id);
  parked.resources.root = make_root(parked.resources, workload, image, plan, parked.users.get());
  parked.resources.group = make_group(workload, plan);
  if (plan.isolation.net && workload.network == Network::none) {
    parked.netns = new_network_namespace(parked.users ? make_network_namespace(parked.users.get()) : Fd());
  }
  parked.resources.started_as = Start::pooled;
  return parked;
}

Parked NativeBackend::make_zygote(const Workload& workload) const {
  Site site = build({}, {}, workload, parts_->images->resolve(workload.image));
  auto process = parts_->launcher->park(site.plan, descriptors_of(site), who(workload), Deadline::in(workload.start_timeout));
  site.resources.started_as = Start::zygote;
  return {std::move(site.resources), {}, {}, std::move(site.plan), {parts_->launcher, std::move(process)}};
}

/// Null when it died while it waited.
std::unique_ptr<Instance> NativeBackend::wake(Parked parked, const Record& record, const Workload& workload, Timeline& timeline) {
  const std::string who = this->who(workload);
  const InstanceDir& directory = parked.resources.directory;
  if (!parked.plan.isolation.net) check_ports(workload, who);
  if (record) {
    record(directory);
    keep(parked.plan, Start::zygote, directory);
    if (parked.resources.link) keep(parked.resources.link->subnet(), directory);
  }
  const Instant prepared = Instant::now();
  if (!parts_->launcher->go(*parked.process.get(), who, Deadline::in(workload.start_timeout))) return nullptr;
  const auto process = parked.process.release();
  timeline.mark(Mark::prepared, prepared);
  timeline.mark(Mark::launched, process->launched());
  timeline.mark(Mark::executed, process->executed());
  std::string address = address_of(parked.plan, parked.resources);
  const std::string id = directory.instance_id();
  return std::make_unique<NativeInstance>(id, who, address, parked.plan, std::move(parked.resources), process, timeline);
}

std::unique_ptr<Instance> NativeBackend::start_in(const Record& record, const Workload& workload, Timeline& timeline) {
  const image::Image image = parts_->images->resolve(workload.image);
  std::optional<Parked> ground;
  if (workload.start != Start::cold) {
    const Workload shape = shape_of(workload, image);
    while ((ground = parking_->take(shape)) && ground->process.get()) {
      if (auto instance = wake(std::move(*ground), record, workload, timeline)) return instance;
    }
  }
  Site site = build(std::move(ground), record, workload, image);
  timeline.mark(Mark::prepared);

  const std::string who = this->who(workload);
  auto process = parts_->launcher->start(site.plan, descriptors_of(site), who, Deadline::in(workload.start_timeout));
  timeline.mark(Mark::launched, process->launched());
  timeline.mark(Mark::executed, process->executed());
  std::string address = address_of(site.plan, site.resources);
  return std::make_unique<NativeInstance>(site.plan.key, who, address, site.plan, std::move(site.resources), std::move(process), timeline);
}

// Its process may have ended meanwhile, or be lost with its launcher: then it is an instance that has exited.
std::unique_ptr<Instance> NativeBackend::adopt(InstanceDir& own, const Workload& workload, Timeline& timeline) {
  const std::string id = own.instance_id();
  const Plan plan = kept_plan(own);
  const Resolver resolver = resolver_of(workload, !plan.isolation.net);
  NativeResources resources{nullptr, {}, parts_,       parts_->launcher, InstanceDir(std::move(own)), {}, nullptr,
                            nullptr, {}, std::nullopt, resolver.note};
  if (plan.isolation.has_own_ids()) resources.ids = IdRange::adopt(parts_->paths.id_ranges(), plan.isolation.first_id);
  try {
    if (kept_start(resources.directory) == tare::name(workload.start)) resources.started_as = workload.start;
    resources.group = parts_->groups->adopt(id, workload.limits);
    if (const auto subnet = kept_subnet(resources.directory)) resources.link = std::make_unique<InstanceLink>(id, *subnet);
    if (workload.network == Network::bridge && plan.isolation.net) {
      resources.place = bridge::Member::find(bridge_settings(), id);
      resources.ports = hold_again(workload.publish, who(workload));
    }
    auto process = parts_->launcher->find_or_gone(id, plan.log);
    if (process->pid() > 0) {
      timeline.mark(Mark::launched, process->launched());
      timeline.mark(Mark::executed, process->executed());
      resources.root = Fd(::open(("/proc/" + std::to_string(process->pid()) + "/root").c_str(), O_PATH | O_CLOEXEC));
    }
    std::string address = address_of(plan, resources);
    return std::make_unique<NativeInstance>(id, who(workload), address, plan, std::move(resources), std::move(process), timeline);
  } catch (const Error&) {
    if (resources.ids) resources.ids->leave();
    if (resources.group) resources.group->leave();
    if (resources.link) resources.link->leave();
    if (resources.place) resources.place->leave_behind();
    own = std::move(resources.directory);
    throw;
  }
}

}  // namespace

std::unique_ptr<Backend> make_backend(Native kind, NativeParts parts) { return std::make_unique<NativeBackend>(kind, std::move(parts)); }

}  // namespace tare::container
