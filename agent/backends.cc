// SPDX-License-Identifier: Apache-2.0
// The one file that names all backends.
#include "agent/backends.h"

#include <algorithm>

#include "container/cgroup.h"
#include "container/launcher.h"
#include "container/native_backend.h"
#include "core/bridge.h"
#include "core/error.h"
#include "image/store.h"
#include "vm/accelerator.h"
#include "vm/driver_root.h"
#include "vm/guest_kernel.h"
#include "vm/vm_backend.h"

namespace tare::agent {
namespace {

using Verdict = Check::Verdict;

vm::VmSettings settings_of(const VmConfig& config) {
  vm::VmSettings out;
  out.uri = config.connection == "embed" ? "" : config.connection;
  out.machine = config.machine == "q35" ? vm::Machine::q35 : vm::Machine::microvm;
  const auto* const profile = std::find(std::begin(kVmProfileNames), std::end(kVmProfileNames), config.profile);
  out.profile = static_cast<VmProfile>(profile - std::begin(kVmProfileNames));  // load_config() took no other
  out.confinement = config.confinement == "fast" ? vm::Confinement::fast : vm::Confinement::hardened;
  out.cache = config.cache;
  if (config.accelerator != "auto") out.accelerator = config.accelerator == "kvm" ? vm::Accelerator::kvm : vm::Accelerator::tcg;
  return out;
}

Check qemu(const vm::VmSettings& settings) {
  const std::string emulator = settings.emulator.string();
  if (find_program(emulator)) return {"qemu", Verdict::ok, emulator + " is installed", ""};
  return {"qemu", Verdict::fail, emulator + " is not installed", "apt-get install qemu-system-x86"};
}

Check kernel(const Paths& paths, const vm::VmSettings& settings) {
  try {
    return {"kernel", Verdict::ok, "guests boot Linux " + vm::find_kernel(paths, settings.kernel).release, ""};
  } catch (const Error& e) {
    return {"kernel", Verdict::fail, e.sentence(), e.hint()};
  }
}

// libvirt keeps what it learnt of QEMU only while it could look at /dev/kvm as QEMU's user.
Check kvm_user(const vm::VmSettings& settings) {
  if (::access("/dev/kvm", F_OK) != 0)
    return {"kvm_device", Verdict::warn, "there is no /dev/kvm: VMs are emulated", "modprobe kvm_intel || modprobe kvm_amd"};
  if (settings.uri.empty()) return {"kvm_device", Verdict::ok, "/dev/kvm is there, and QEMU runs as this user", ""};
  const vm::KvmAccess access = vm::kvm_access_of_emulator_user("/etc/libvirt/qemu.conf");
  if (access.readable) return {"kvm_device", Verdict::ok, "QEMU's user '" + access.user + "' can open /dev/kvm", ""};
  return {
      "kvm_device", Verdict::warn,
      "QEMU's user '" + access.user + "' cannot open /dev/kvm: libvirt asks QEMU anew what it can do at every start, which takes a minute",
      "usermod --append --groups kvm " + access.user};
}

class RealBackends : public BackendSet {
 public:
  explicit RealBackends(const Config& config)
      : paths_(config.paths),
        settings_(settings_of(config.vm)),
        launcher_(config.is_private ? container::Launcher::start_private(config.paths) : container::Launcher::connect(config.paths)),
        groups_(container::make_control_groups()),
        bridge_({config.bridge_range, config.paths.network_lock(), true}) {
    const auto images = std::make_shared<image::Store>(paths_);
    const container::NativeParts native{
        paths_, launcher_, groups_, images, config.bridge_range, true, static_cast<std::size_t>(config.parked)};
    metal_ = container::make_backend(container::Native::metal, native);
    container_ = container::make_backend(container::Native::container, native);
    vm_ = vm::make_backend({paths_, groups_, images, settings_, config.bridge_range, true, static_cast<std::size_t>(config.parked)});
  }

  std::vector<Backend*> all() const override { return {metal_.get(), container_.get(), vm_.get()}; }
  ControlGroups* control_groups() const override { return groups_.get(); }
  std::vector<pid_t> helpers() const override { return {launcher_->pid()}; }
  void end_unclaimed(const std::set<std::string>& instances) const override { launcher_->end_unclaimed(instances); }
  void tidy() const override { vm::tidy_driver_roots(paths_); }
  std::vector<Check> checks() const override { return {qemu(settings_), kernel(paths_, settings_), kvm_user(settings_)}; }

 private:
  const Paths paths_;
  const vm::VmSettings settings_;
  std::shared_ptr<container::Launcher> launcher_;
  std::shared_ptr<ControlGroups> groups_;
  const bridge::Keeper bridge_;  // outlives the backends
  std::unique_ptr<Backend> metal_;
  std::unique_ptr<Backend> container_;
  std::unique_ptr<Backend> vm_;
};

}  // namespace

std::unique_ptr<BackendSet> make_backends(const Config& config) { return std::make_unique<RealBackends>(config); }

}  // namespace tare::agent
