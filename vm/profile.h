// SPDX-License-Identifier: Apache-2.0
// How the machine of a guest is shaped. A profile is a set of wishes; what became of each is a Trait of the plan, so that nothing that the
// host cannot give is left out in silence.
//
//            machine   CPUs                                memory                            disks, QEMU
//   default  settings  limits.cpus rounded up, else 1      RAM = limits.memory               page cache of the host
//   minimal  microvm   as default                          as default                        no serial port; the slim QEMU with KVM, a
//                                                                                            small translation buffer without
//   matched  settings  limits.cpus rounded up, else all    usable = limits.memory, from the  as default; the host's own kernel where it
//                      that it may run on; every flag      NUMA node of its CPUs             can be booted
//   tuned    q35       as default, each pinned to one CPU  huge pages, from the NUMA node    scratch disk with cache=none, io_uring and a
//                      of the host                         of its CPUs                       thread of its own
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "vm/plan.h"

namespace tare::vm {

/// What a host has for its guests, beside what every guest gets.
struct HostOffer {
  struct Cpu {
    unsigned number = 0;
    unsigned node = 0;
  };
  std::vector<Cpu> cpus;                // on which the agent may run
  Bytes hugepage_size;                  // of the pages that libvirt takes; 0: the kernel has none
  Bytes hugepages_free;                 // of that size
  std::string no_io_uring;              // why not; empty: it works
  std::string no_direct_io;             // why files of the scratch disk's directory cannot be opened with O_DIRECT; empty: they can
  std::filesystem::path slim_emulator;  // qemu-system-x86_64-microvm; empty: not installed
};
/// Looks at this host. `disks` is the directory of scratch disks; `root` is "/" but in tests.
HostOffer host_offer(const std::filesystem::path& disks, const std::filesystem::path& root = "/");

/// Disk::cache of what takes the guest's writes. Pure.
void set_cache(VmPlan& plan, const std::string& cache);

/// Shapes `plan`, which is that of `default`, to `profile`. `busy` says how many pinned virtual CPUs each CPU of the host has already: the
/// least busy ones are taken. Pure.
void shape(VmPlan& plan, VmProfile profile, const Limits& limits, const HostOffer& offer, const std::vector<unsigned>& busy = {});

/// The NUMA nodes of the CPUs on which a workload with these limits may run.
std::set<unsigned> nodes_for(const Limits& limits, const HostOffer& offer);

/// RAM of a guest whose MemTotal is `usable` or up to a MiB more.
Bytes ram_for_usable(Bytes usable, unsigned vcpus);

/// Those that the host cannot give.
std::vector<Trait> missing(std::vector<Trait> traits);
/// For Instance::protections(): each with its remedy.
std::map<std::string, std::string> description(const std::vector<Trait>& traits);

}  // namespace tare::vm
