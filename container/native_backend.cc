// SPDX-License-Identifier: Apache-2.0
#include "container/native_backend.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <future>

#include "container/attributes.h"
#include "container/devices.h"
#include "container/mount_sources.h"
#include "container/native_instance.h"
#include "container/overlay.h"
#include "container/seccomp_program.h"
#include "core/error.h"
#include "core/files.h"
#include "core/listener.h"
#include "core/mount_rules.h"
#include "core/readiness.h"
#include "core/resolver.h"

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
  for (const char* name : {"upper", "work", "merged", "upper/etc"}) make_directory(directory / name);
  std::string hosts = "127.0.0.1 localhost\n::1 localhost\n";
  if (plan.isolation.uts) hosts += "127.0.1.1 " + plan.hostname + "\n";
  make_file(directory / "upper/etc/hosts", hosts);
  make_file(directory / "upper/etc/hostname", plan.hostname + "\n");
  make_file(directory / "upper/etc/resolv.conf", resolver);
}

std::string environment_value(const std::vector<std::string>& environment, std::string_view name) {
  for (auto entry = environment.rbegin(); entry != environment.rend(); ++entry) {
    if (entry->starts_with(name) && entry->size() > name.size() && (*entry)[name.size()] == '=') return entry->substr(name.size() + 1);
  }
  return {};
}

/// The image's environment with the workload's on top; HOME and HOSTNAME as Docker sets them.
std::vector<std::string> merged_environment(const image::Image& image, const Workload& workload, const std::string& hostname,
                                            const std::string& home) {
  std::vector<std::string> merged;
  const auto set = [&](const std::string& entry) {
    const std::string name = entry.substr(0, entry.find('='));
    std::erase_if(merged, [&](const std::string& old) { return old.substr(0, old.find('=')) == name; });
    merged.push_back(entry);
  };
  for (const std::string& entry : image.environment) set(entry);
  set("HOSTNAME=" + hostname);
  if (environment_value(merged, "HOME").empty()) set("HOME=" + home);
  for (const std::string& entry : workload.environment) set(entry);
  return merged;
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

/// What a mount brings is not in the image: the kernel tells whether it is there.
std::string program_of(const Workload& workload, const image::Image& image, const Plan& plan) {
  const std::string& program = plan.arguments[0];
  const bool mounted = std::any_of(workload.mounts.begin(), workload.mounts.end(),
                                   [&](const Mount& mount) { return program.starts_with(mount.target + "/") || program == mount.target; });
  return mounted ? program : image::find_command(image, program, plan.environment, plan.working_directory);
}

void check_ports(const Workload& workload, const std::string& who) {
  for (const std::uint16_t port : workload.ports) {
    if (!port_in_use(port)) continue;
    const auto listener = listener_on(port);
    throw Error(Code::conflict, who + ": port " + std::to_string(port) + " is in use" + (listener ? " by " + *listener : ""),
                "stop that process or give the workload another port: it shares the host's ports");
  }
}

/// The network namespace of an instance, with what leads into it, or with loopback alone; empty for who shares the host's.
struct InstanceNetwork {
  std::unique_ptr<InstanceLink> link;
  std::optional<bridge::Member> place;
  Fd own;
  int netns() const { return link ? link->netns() : own.get(); }
};

// What adopt() reads: the plan as the launcher got it, and the addresses of the link.
constexpr const char* kPlanFile = "plan";
constexpr const char* kLinkFile = "link";

void keep(const Plan& plan, const InstanceDir& directory) {
  StartRequest request;
  request.plan = plan;
  directory.write(kPlanFile, encode(request));
}

void keep(const netlink::Subnet& subnet, const InstanceDir& directory) {
  directory.write(kLinkFile, subnet.host + " " + subnet.instance + " " + std::to_string(subnet.prefix) + "\n");
}

Plan kept_plan(const InstanceDir& directory) {
  StartRequest request;
  if (!decode(read_file(directory.path() / kPlanFile), request)) {
    throw Error(Code::conflict, (directory.path() / kPlanFile).string() + " was written by another version of tare");
  }
  return request.plan;
}

std::optional<netlink::Subnet> kept_subnet(const InstanceDir& directory) {
  const auto text = try_read_file(directory.path() / kLinkFile);
  if (!text) return std::nullopt;
  netlink::Subnet subnet;
  std::istringstream(*text) >> subnet.host >> subnet.instance >> subnet.prefix;
  return subnet;
}

class NativeBackend final : public Backend {
 public:
  NativeBackend(Native kind, NativeParts parts) : kind_(kind), parts_(std::make_shared<NativeParts>(std::move(parts))) {}

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

  void prepare(const Workload& workload) override {
    const Plan plan = plan_of(workload, parts_->images->resolve(workload.image), "t000000000000");
    seccomp_file(plan.isolation);  // compiled, for later ones
    open_trees(plan.mounts, parts_->paths, std::string(name()) + " '" + workload.name + "'");
  }

  std::unique_ptr<Instance> start(const Workload& workload, Timeline& timeline) override {
    return start_in(InstanceDir(parts_->paths, new_instance_id()), false, workload, timeline);
  }
  std::unique_ptr<Instance> start_kept(InstanceDir directory, const Workload& workload, Timeline& timeline) override {
    return start_in(std::move(directory), true, workload, timeline);
  }
  std::unique_ptr<Instance> adopt(InstanceDir& directory, const Workload& workload, Timeline& timeline) override;

 private:
  std::unique_ptr<Instance> start_in(InstanceDir directory, bool kept, const Workload& workload, Timeline& timeline);
  std::string who(const Workload& workload) const { return std::string(name()) + " '" + workload.name + "'"; }
  Isolation isolation(const Workload& workload) const {
    if (kind_ == Native::metal) return Isolation::none();
    Isolation isolation = Isolation::container(workload.security);
    isolation.share(workload.host_namespaces);
    if (workload.network == Network::host) isolation.net = false;
    return isolation;
  }
  Plan plan_of(const Workload& workload, const image::Image& image, const std::string& id) const;
  InstanceNetwork make_network(const Workload& workload, const Plan& plan) const;
  bridge::Settings bridge_settings() const { return {parts_->bridge_range, parts_->paths.network_lock()}; }

  Native kind_;
  std::shared_ptr<NativeParts> parts_;
};

Plan NativeBackend::plan_of(const Workload& workload, const image::Image& image, const std::string& id) const {
  check_mounts(workload);
  Plan plan;
  plan.key = id;
  plan.isolation = isolation(workload);
  plan.arguments = workload.command.empty() ? image.command : workload.command;
  if (plan.arguments.empty()) {
    throw Error(Code::invalid, "workload '" + workload.name + "' has no command, and neither has image '" + workload.image + "'",
                "add `command:` to the workload");
  }
  plan.hostname = !plan.isolation.uts ? host_name() : workload.hostname.empty() ? id : workload.hostname;
  const image::User user = image::resolve_user({image.rootfs}, workload.user);
  plan.attributes = attributes_of(user, workload);
  const std::string home = !user.home.empty() ? user.home : workload.user.empty() ? "/root" : "/";
  plan.environment = merged_environment(image, workload, plan.hostname, home);
  plan.working_directory = !workload.working_directory.empty() ? workload.working_directory
                           : image.working_directory.empty()   ? "/"
                                                               : image.working_directory;
  plan.program = program_of(workload, image, plan);
  plan.mounts = mount_plan(plan.isolation, workload, host_devices(workload, std::string(name()) + " '" + workload.name + "'"),
                           fs::absolute(parts_->paths.volumes()));
  const fs::path directory = parts_->paths.instances() / id;
  plan.root = fs::absolute(directory / "merged");
  plan.log = fs::absolute(directory / "log");
  plan.log_max_size = workload.log.max_size.count;
  plan.log_max_files = static_cast<std::uint32_t>(workload.log.max_files);
  return plan;
}

// Runs on a thread made for it.
InstanceNetwork NativeBackend::make_network(const Workload& workload, const Plan& plan) const {
  InstanceNetwork network;
  if (!plan.isolation.net) return network;
  if (workload.network == Network::link) {
    fs::create_directories(parts_->paths.run);
    network.link = std::make_unique<InstanceLink>(plan.key, parts_->paths.network_lock());
  } else if (workload.network == Network::bridge) {
    bridge::Namespace inside = bridge::Namespace::make();
    network.place = bridge::Member::by_veth(bridge_settings(), plan.key, inside);
    network.place->publish(workload.publish);
    network.own = std::move(inside.fd);
  } else {
    network.own = become_network_namespace();
  }
  return network;
}

std::string address_of(const Plan& plan, const NativeResources& resources) {
  if (resources.place) return resources.place->place().address;
  return !plan.isolation.net ? "127.0.0.1" : resources.link ? resources.link->address() : "";
}

std::unique_ptr<Instance> NativeBackend::start_in(InstanceDir own, bool kept, const Workload& workload, Timeline& timeline) {
  const std::string who = this->who(workload);
  const std::string id = own.instance_id();
  const image::Image image = parts_->images->resolve(workload.image);
  const Plan plan = plan_of(workload, image, id);
  if (!plan.isolation.net) check_ports(workload, who);
  std::vector<Fd> ports;
  if (plan.isolation.net) ports = hold_ports(workload.publish, who);
  const Resolver resolver = resolver_of(workload, !plan.isolation.net);
  if (kept) keep(plan, own);

  NativeResources resources{parts_, parts_->launcher, std::move(own), nullptr, nullptr, std::move(ports), std::nullopt, resolver.note};
  // Root file system, control group and network know nothing of one another and take 0.5–1 ms each: side by side.
  auto networking = std::async(std::launch::async, [&] { return make_network(workload, plan); });
  const auto devices = plan.isolation.device_list ? std::optional(devices_with(plan.mounts.devices)) : std::nullopt;
  auto grouping = std::async(std::launch::async, [&] { return parts_->groups->create(id, workload.limits, devices); });
  const std::string directory = fs::absolute(resources.directory.path());
  make_layers(directory, plan, resolver.text);
  // nodev as far as a container goes: it makes its own /dev. metal works with the host's.
  const Fd root = mount_overlay({fs::absolute(image.rootfs), directory, !plan.isolation.own_kernel_views}, who);
  const std::vector<Fd> trees = open_trees(plan.mounts, parts_->paths, who);
  resources.group = grouping.get();
  InstanceNetwork network = networking.get();

  PlanFds fds;
  fds.tasks = resources.group->tasks_fds();
  fds.cgroup_directory = resources.group->directory_fd();
  fds.netns = network.netns();
  fds.root = root.get();
  fds.seccomp = seccomp_file(plan.isolation);
  for (const Fd& tree : trees) fds.trees.push_back(tree.get());
  resources.link = std::move(network.link);
  resources.place = std::move(network.place);
  if (kept && resources.link) keep(resources.link->subnet(), resources.directory);
  timeline.mark(Mark::prepared);

  auto process = parts_->launcher->start(plan, fds, who, Deadline::in(workload.start_timeout));
  timeline.mark(Mark::launched, process->launched());
  timeline.mark(Mark::executed, process->executed());
  std::string address = address_of(plan, resources);
  return std::make_unique<NativeInstance>(id, who, address, plan, std::move(resources), std::move(process), timeline);
}

// Its process may have ended meanwhile, or be lost with its launcher: then it is an instance that has exited.
std::unique_ptr<Instance> NativeBackend::adopt(InstanceDir& own, const Workload& workload, Timeline& timeline) {
  const std::string id = own.instance_id();
  const Plan plan = kept_plan(own);
  const Resolver resolver = resolver_of(workload, !plan.isolation.net);
  NativeResources resources{parts_, parts_->launcher, InstanceDir(std::move(own)), nullptr, nullptr, {}, std::nullopt, resolver.note};
  try {
    resources.group = parts_->groups->adopt(id, workload.limits);
    if (const auto subnet = kept_subnet(resources.directory)) resources.link = std::make_unique<InstanceLink>(id, *subnet);
    if (workload.network == Network::bridge && plan.isolation.net) resources.place = bridge::Member::find(bridge_settings(), id);
    auto process = parts_->launcher->find_or_gone(id, plan.log);
    if (process->pid() > 0) {
      timeline.mark(Mark::launched, process->launched());
      timeline.mark(Mark::executed, process->executed());
    }
    std::string address = address_of(plan, resources);
    return std::make_unique<NativeInstance>(id, who(workload), address, plan, std::move(resources), std::move(process), timeline);
  } catch (const Error&) {
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
