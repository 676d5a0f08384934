// SPDX-License-Identifier: Apache-2.0
#include "vm/plan.h"

#include <cmath>

#include "core/error.h"
#include "core/mount_rules.h"

namespace tare::vm {

std::string_view name(Accelerator accelerator) noexcept { return accelerator == Accelerator::kvm ? "kvm" : "tcg"; }
std::string_view name(Machine machine) noexcept { return machine == Machine::microvm ? "microvm" : "q35"; }

unsigned vcpus_for(const Limits& limits) {
  if (!limits.cpus || *limits.cpus <= 1) return 1;
  return static_cast<unsigned>(std::ceil(*limits.cpus));
}

Bytes memory_for(const Limits& limits) {
  if (!limits.memory) return kDefaultMemory;
  if (*limits.memory < kLeastMemory) {
    throw Error(Code::invalid,
                "memory limit " + text_of(*limits.memory) + " is too small for a guest, which needs " + text_of(kLeastMemory),
                "raise limits.memory to " + text_of(kLeastMemory) + " or more");
  }
  return Bytes{limits.memory->count & ~std::uint64_t{(1 << 20) - 1}};
}

Limits host_limits(const Limits& limits, const std::string& who) {
  const auto refuse = [&](const char* limit, const char* why) {
    throw Error(Code::unsuited, who + ": limits." + limit + " is not for a VM: " + why,
                std::string("leave ") + limit + " out, or run the workload on metal or in a container");
  };
  if (limits.memory_high) refuse("memory_high", "its guest has its memory as RAM, without a soft limit");
  if (limits.swap && *limits.swap > Bytes{0}) refuse("swap", "its guest has no swap");
  if (!limits.hugepages.empty()) refuse("hugepages", "its guest's kernel has its own");
  Limits host;
  host.cpu_weight = limits.cpu_weight;
  host.cpuset = limits.cpuset;
  host.memory_nodes = limits.memory_nodes;
  host.io_weight = limits.io_weight;
  host.io = limits.io;
  return host;
}

Limits host_change(const Limits& change, unsigned vcpus, const std::string& who) {
  Limits host = host_limits(change, who);
  const auto fixed = [&](const char* limit, const std::string& why) {
    throw Error(Code::unsuited, who + ": limits." + limit + " cannot change while it runs: " + why,
                std::string("start it anew with the limits.") + limit + " that it needs");
  };
  if (change.memory) fixed("memory", "it is the RAM that its guest was started with");
  if (change.pids) fixed("pids", "its guest's kernel was told the limit at the start");
  if (change.cpus && *change.cpus > vcpus) {
    fixed("cpus", "its guest has " + std::to_string(vcpus) + (vcpus == 1 ? " virtual CPU" : " virtual CPUs"));
  }
  host.cpus = change.cpus;
  return host;
}

std::string mac_address(const std::string& instance_id) {
  std::string mac = "52:54:00";  // QEMU's own prefix, locally administered
  const std::string digits = instance_id.substr(instance_id.size() - 6);
  for (std::size_t i = 0; i < 6; ++i) {
    if (i % 2 == 0) mac += ':';
    mac += digits[i];
  }
  return mac;
}

void refuse_what_is_missing(const Workload& workload) {
  check_mounts(workload);
  const auto refuse = [&](const std::string& what) {
    throw Error(Code::unsuited, "vm '" + workload.name + "' " + what, "leave backend vm out, or the setting");
  };
  if (workload.start == Start::pooled || workload.start == Start::zygote) {
    refuse("has no start: " + std::string(tare::name(workload.start)) + ": a guest's are restored and parked");
  }
  if (workload.start != Start::cold && workload.ready.kind == Ready::Kind::exit) {
    refuse("has no start: " + std::string(tare::name(workload.start)) + " for a workload that is ready when it has ended");
  }
  for (const Mount& mount : workload.mounts) {
    if (workload.start == Start::cold || mount.type == Mount::Type::tmpfs) continue;
    refuse("has no start: " + std::string(tare::name(workload.start)) + " with the " + std::string(tare::name(mount.type)) + " " +
           mount.target + ": what serves it cannot be frozen");
  }
  if (!workload.host_namespaces.empty()) {
    refuse("cannot share the host's " + std::string(tare::name(workload.host_namespaces.front())) +
           " namespace: a guest has a kernel of its own");
  }
  if (workload.userns != Userns::host) refuse("cannot have `userns: auto`: a guest has a kernel and users of its own");
  if (!workload.devices.empty()) refuse("cannot have " + workload.devices.front() + ": a guest sees no device of the host");
}

std::vector<KernelWord> kernel_words(const VmPlan& plan) {
  std::vector<KernelWord> words;
  if (plan.serial) words.push_back({"console=ttyS0", "a panic's last words go to the console file"});
  const std::vector<KernelWord> always = {
      {"quiet", "but nothing else: each byte on the serial port is a VM exit"},
      {"panic=-1", "a guest that panics resets, QEMU ends, and the agent knows at once"},
      {"reboot=t", "reset by triple fault: the shortest way out, and no ACPI or keyboard controller is needed"},
      {"cryptomgr.notests=1", "the self-tests of the crypto algorithms are most of a stock kernel's boot"},
      {"initcall_blacklist=cubictcp_register,init_blk_tracer,init_kprobe_trace,"
       "bpf_rstat_kfunc_init,bpf_key_sig_kfuncs_init,kfunc_init,bpf_prog_test_run_init,bpf_tcp_ca_kfunc_init,btf_module_init",
       "no workload here needs tracing, that TCP variant, or the kernel's functions and the modules' types for BPF programs, of which the "
       "first parses the types of the whole kernel"},
      {"rdinit=/init", "tare-init"},
  };
  words.insert(words.end(), always.begin(), always.end());
  if (plan.accelerator == Accelerator::tcg) {
    words.push_back({"no_timer_check", "the check waits for timer interrupts that an emulated machine delivers late"});
    if (plan.tsc_khz != 0) {
      words.push_back({"tsc_early_khz=" + std::to_string(plan.tsc_khz), "calibration against an emulated timer sometimes never ends"});
      words.push_back({"tsc=reliable", "nor is it to be doubted later"});
    }
  }
  return words;
}

std::string command_line(const VmPlan& plan) {
  std::string line;
  for (const KernelWord& entry : kernel_words(plan)) {
    if (!line.empty()) line += ' ';
    line += entry.word;
  }
  return line;
}

}  // namespace tare::vm
