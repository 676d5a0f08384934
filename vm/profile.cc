// SPDX-License-Identifier: Apache-2.0
#include "vm/profile.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

namespace tare::vm {
namespace {

using Cpus = std::vector<HostOffer::Cpu>;

// Of the code that emulation makes QEMU keeps 16 MiB instead of up to 1 GiB: a boot fills 35 MiB, and is a tenth slower with these.
constexpr Bytes kSmallTranslationBuffer = 16_MiB;

Cpus allowed(const Limits& limits, const HostOffer& offer) {
  if (limits.cpuset.empty()) return offer.cpus;
  const std::set<unsigned> named = parse_index_list(limits.cpuset);
  Cpus out;
  std::copy_if(offer.cpus.begin(), offer.cpus.end(), std::back_inserter(out), [&](const auto& cpu) { return named.contains(cpu.number); });
  return out;
}

std::set<unsigned> nodes_of(const Cpus& cpus) {
  std::set<unsigned> nodes;
  for (const auto& cpu : cpus) nodes.insert(cpu.node);
  return nodes;
}

std::string list_text(const std::set<unsigned>& numbers) {
  std::string text;
  for (const unsigned number : numbers) text.append(text.empty() ? "" : ",").append(std::to_string(number));
  return text;
}

std::string list_text(const Cpus& cpus) {
  std::set<unsigned> numbers;
  for (const auto& cpu : cpus) numbers.insert(cpu.number);
  return list_text(numbers);
}

void want(VmPlan& plan, const std::string& name, std::string text) { plan.traits.push_back({"profile " + name, std::move(text)}); }
void miss(VmPlan& plan, const std::string& name, std::string text, std::string remedy = {}) {
  plan.traits.push_back({"profile " + name, std::move(text), true, std::move(remedy)});
}

void want_cpu_flags(VmPlan& plan) {
  plan.every_cpu_flag = true;
  if (plan.accelerator == Accelerator::kvm) return want(plan, "cpu", "the host's");
  miss(plan, "cpu", "emulated, with every flag that the emulation has: the host's own needs KVM");
}

// Memory near the CPUs, where the host has more than one node and the workload did not choose.
void want_memory_node(VmPlan& plan, const Cpus& used, const Limits& limits, const HostOffer& offer) {
  if (nodes_of(offer.cpus).size() < 2 || !limits.memory_nodes.empty() || used.empty()) return;
  const std::set<unsigned> nodes = nodes_of(used);
  if (nodes.size() > 1) {
    return miss(plan, "memory node", "none: its CPUs are on nodes " + list_text(nodes), "set limits.cpuset to CPUs of one node");
  }
  plan.memory_node = *nodes.begin();
  want(plan, "memory node", std::to_string(*nodes.begin()));
}

// ---- minimal

void make_minimal(VmPlan& plan, const HostOffer& offer) {
  plan.machine = Machine::microvm;
  plan.serial = false;
  want(plan, "serial port", "none: what a kernel says when it panics is lost");
  if (plan.accelerator == Accelerator::tcg) {
    plan.translation_buffer = kSmallTranslationBuffer;
    want(plan, "translation buffer", text_of(kSmallTranslationBuffer));
    return miss(plan, "emulator", plan.emulator.filename().string() + ": the slim qemu-system-x86_64-microvm needs KVM");
  }
  if (offer.slim_emulator.empty()) {
    return miss(plan, "emulator", plan.emulator.filename().string() + ": the slim qemu-system-x86_64-microvm is not installed",
                "apt-get install qemu-system-x86");
  }
  plan.emulator = offer.slim_emulator;
  want(plan, "emulator", plan.emulator.filename().string());
}

// ---- matched

void make_matched(VmPlan& plan, const Limits& limits, const HostOffer& offer) {
  const Cpus cpus = allowed(limits, offer);
  if (!limits.cpus && !cpus.empty()) plan.vcpus = static_cast<unsigned>(cpus.size());
  if (!limits.cpuset.empty()) plan.cpus = list_text(cpus);
  const Bytes usable = plan.memory;
  plan.memory = ram_for_usable(usable, plan.vcpus);
  want(plan, "memory", text_of(plan.memory) + " of RAM for " + text_of(usable) + " that are usable");
  want_cpu_flags(plan);
  want_memory_node(plan, cpus, limits, offer);
}

// ---- tuned

// So many CPUs, the least busy ones, all of one node where that is possible; nothing when there are not so many.
Cpus choose(Cpus from, std::size_t count, const std::vector<unsigned>& busy) {
  if (from.size() < count) return {};
  const auto load = [&](const HostOffer::Cpu& cpu) { return cpu.number < busy.size() ? busy[cpu.number] : 0; };
  std::stable_sort(from.begin(), from.end(), [&](const auto& a, const auto& b) { return load(a) < load(b); });
  const auto first = [&](const Cpus& list) { return Cpus(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(count)); };
  const auto total = [&](const Cpus& list) {
    return std::accumulate(list.begin(), list.end(), 0U, [&](unsigned sum, const auto& cpu) { return sum + load(cpu); });
  };
  Cpus best;
  for (const unsigned node : nodes_of(from)) {
    Cpus near;
    std::copy_if(from.begin(), from.end(), std::back_inserter(near), [&](const auto& cpu) { return cpu.node == node; });
    if (near.size() < count) continue;
    near = first(near);
    if (best.empty() || total(near) < total(best)) best = near;
  }
  return best.empty() ? first(from) : best;
}

void want_pins(VmPlan& plan, const Limits& limits, const HostOffer& offer, const std::vector<unsigned>& busy) {
  const Cpus from = allowed(limits, offer);
  const Cpus chosen = choose(from, plan.vcpus, busy);
  if (chosen.empty()) {
    return miss(plan, "pinning", "none: " + std::to_string(plan.vcpus) + " virtual CPUs on " + std::to_string(from.size()) + " of the host",
                "lower limits.cpus, or widen limits.cpuset");
  }
  std::string text;
  for (const auto& cpu : chosen) {
    plan.vcpu_pins.push_back(std::to_string(cpu.number));
    text.append(text.empty() ? "virtual CPUs on " : ", ").append(plan.vcpu_pins.back());
  }
  Cpus rest;
  const auto is_chosen = [&](const auto& cpu) {
    return std::find(plan.vcpu_pins.begin(), plan.vcpu_pins.end(), std::to_string(cpu.number));
  };
  std::copy_if(from.begin(), from.end(), std::back_inserter(rest), [&](const auto& cpu) { return is_chosen(cpu) == plan.vcpu_pins.end(); });
  plan.helper_cpus = list_text(rest.empty() ? from : rest);
  want(plan, "pinning", text + ", QEMU's other threads on " + plan.helper_cpus);
  want_memory_node(plan, chosen, limits, offer);
}

void want_hugepages(VmPlan& plan, const HostOffer& offer) {
  if (offer.hugepage_size.count == 0) return miss(plan, "hugepages", "none: the host's kernel has none, or hugetlbfs is not mounted");
  const std::uint64_t size = offer.hugepage_size.count;
  const std::uint64_t pages = (plan.memory.count + size - 1) / size;
  if (offer.hugepages_free.count < pages * size) {
    return miss(plan, "hugepages",
                "none: " + text_of(plan.memory) + " are needed and " + text_of(offer.hugepages_free) + " are free on this host",
                "sysctl -w vm.nr_hugepages=" + std::to_string(pages) + " (or more)");
  }
  plan.hugepages = true;
  want(plan, "hugepages", text_of(plan.memory) + " in pages of " + text_of(offer.hugepage_size));
}

void want_disks(VmPlan& plan, const HostOffer& offer) {
  plan.iothreads = 1;
  plan.image.iothread = plan.scratch.iothread = 1;
  want(plan, "disk threads", "1");
  if (offer.no_direct_io.empty()) {
    plan.scratch.cache = "none";  // the image stays in the host's page cache, which all guests share
    want(plan, "disk cache", "none, for what the guest writes");
  } else {
    miss(plan, "disk cache", plan.scratch.cache + ": " + offer.no_direct_io, "put the state directory on ext4 or xfs");
  }
  if (!offer.no_io_uring.empty()) return miss(plan, "disk io", "threads: " + offer.no_io_uring, "sysctl -w kernel.io_uring_disabled=0");
  plan.image.io = plan.scratch.io = "io_uring";
  want(plan, "disk io", "io_uring");
}

void make_tuned(VmPlan& plan, const Limits& limits, const HostOffer& offer, const std::vector<unsigned>& busy) {
  plan.machine = Machine::q35;  // libvirt gives a disk a thread only on PCI
  want_cpu_flags(plan);
  want_pins(plan, limits, offer, busy);
  want_hugepages(plan, offer);
  want_disks(plan, offer);
}

}  // namespace

void set_cache(VmPlan& plan, const std::string& cache) {
  plan.scratch.cache = cache;
  if (cache != "unsafe") return;
  miss(plan, "disk cache", "unsafe: what the guest flushes does not reach the disk, so its writes compare with nothing",
       "set vm.cache to writeback");
}

void shape(VmPlan& plan, VmProfile profile, const Limits& limits, const HostOffer& offer, const std::vector<unsigned>& busy) {
  plan.profile = profile;
  switch (profile) {
    case VmProfile::standard: return;
    case VmProfile::minimal: return make_minimal(plan, offer);
    case VmProfile::matched: return make_matched(plan, limits, offer);
    case VmProfile::tuned: return make_tuned(plan, limits, offer, busy);
  }
}

std::set<unsigned> nodes_for(const Limits& limits, const HostOffer& offer) { return nodes_of(allowed(limits, offer)); }

// Measured with the stock 6.1 cloud kernel, from 96 MiB to 2 GiB and with 1 to 4 CPUs; q35 keeps 132 KiB more than microvm.
Bytes ram_for_usable(Bytes usable, unsigned vcpus) {
  constexpr Bytes kKernel = Bytes{33'900 << 10};    // its code and data, without what it frees after its boot
  constexpr Bytes kSection = 128_MiB;               // of memory, which the kernel describes as a whole …
  constexpr Bytes kOfSection = Bytes{2'240 << 10};  // … in so much: 64 bytes a page, and the bookkeeping of its zones
  constexpr Bytes kOfCpu = Bytes{244 << 10};        // for each but the first
  constexpr Bytes kOfMachine = Bytes{132 << 10};
  const Bytes fixed = kKernel + kOfMachine + Bytes{kOfCpu.count * (vcpus > 0 ? vcpus - 1 : 0)};
  Bytes ram = usable + fixed;
  for (std::uint64_t sections = 0; sections * kSection.count < ram.count;) {
    sections = (ram.count + kSection.count - 1) / kSection.count;
    ram = usable + fixed + Bytes{sections * kOfSection.count};
  }
  constexpr std::uint64_t kMiB = Bytes{1_MiB}.count;
  return Bytes{(ram.count + kMiB - 1) / kMiB * kMiB};
}

std::vector<Trait> missing(std::vector<Trait> traits) {
  std::erase_if(traits, [](const Trait& trait) { return !trait.missing; });
  return traits;
}

std::map<std::string, std::string> description(const std::vector<Trait>& traits) {
  std::map<std::string, std::string> out;
  for (const Trait& trait : traits) out[trait.name] = trait.text + (trait.remedy.empty() ? "" : " (" + trait.remedy + ")");
  return out;
}

}  // namespace tare::vm
