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
  const auto refuse = [&](const std::string& what) {
    throw Error(Code::unsuited, "vm '" + workload.name + "' " + what, "leave backend vm out, or the setting");
  };
  for (const Mount& mount : workload.mounts) {
    refuse("cannot mount " + mount.target + ": a guest gets no " + std::string(tare::name(mount.type)) + " yet");
  }
  if (workload.read_only_root) refuse("cannot have a read-only root: a guest's is always writable");
  if (!workload.host_namespaces.empty()) {
    refuse("cannot share the host's " + std::string(tare::name(workload.host_namespaces.front())) +
           " namespace: a guest has a kernel of its own");
  }
  if (!workload.devices.empty()) refuse("cannot have " + workload.devices.front() + ": a guest sees no device of the host");
}

std::vector<KernelWord> kernel_words(const VmPlan& plan) {
  std::vector<KernelWord> words = {
      {"console=ttyS0", "a panic's last words go to the console file"},
      {"quiet", "but nothing else: each byte on the serial port is a VM exit"},
      {"panic=-1", "a guest that panics resets, QEMU ends, and the agent knows at once"},
      {"reboot=t", "reset by triple fault: the shortest way out, and no ACPI or keyboard controller is needed"},
      {"cryptomgr.notests=1", "the self-tests of the crypto algorithms are most of a stock kernel's boot"},
      {"initcall_blacklist=cubictcp_register,init_blk_tracer,init_kprobe_trace", "tracing and a TCP variant that no workload here needs"},
      {"rdinit=/init", "tare-init"},
  };
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
