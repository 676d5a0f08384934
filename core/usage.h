// SPDX-License-Identifier: Apache-2.0
// What one instance has cost the host so far. For a VM that is QEMU with all its threads and helpers.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/units.h"

namespace tare {

/// Every field is absent when the host cannot tell; never 0 for that. Counters count from the instance's start.
struct Usage {
  std::optional<std::chrono::nanoseconds> cpu;         // v2 "usage_usec" of cpu.stat; v1 cpuacct.usage
  std::optional<std::chrono::nanoseconds> cpu_user;    // v2 "user_usec"; v1 cpuacct.usage_user
  std::optional<std::chrono::nanoseconds> cpu_system;  // v2 "system_usec"; v1 cpuacct.usage_sys
  std::optional<Bytes> memory;                         // v2 memory.current; v1 memory.usage_in_bytes
  std::optional<Bytes> memory_peak;                    // v2 memory.peak (kernel ≥ 5.19); v1 memory.max_usage_in_bytes
  std::optional<Bytes> memory_pss;                     // sum of "Pss" in /proc/<pid>/smaps_rollup over the process tree
  std::optional<Bytes> io_read;            // v2 "rbytes" of io.stat; v1 blkio.throttle.io_service_bytes, without a line there as below
  std::optional<Bytes> io_write;           // v2 "wbytes"; v1 "write_bytes" of /proc/<pid>/io: living processes and their reaped children
  std::optional<std::uint64_t> io_reads;   // v2 "rios"; v1 blkio.throttle.io_serviced, absent without a line
  std::optional<std::uint64_t> io_writes;  // v2 "wios"; absent on v1
  std::optional<Bytes> network_receive;    // the workload's side of its link; loopback is not counted
  std::optional<Bytes> network_transmit;
  std::optional<std::uint64_t> switches_voluntary;  // /proc/<pid>/task/*/status of living tasks, getrusage(2) of reaped ones
  std::optional<std::uint64_t> switches_involuntary;
  std::optional<std::uint64_t> processes;  // tasks in the control group now: pids.current
  std::optional<std::uint64_t> oom_kills;  // v2 "oom_kill" of memory.events; v1 of memory.oom_control

  // What the threads of a VM's QEMU used of `cpu`, apart (vm/host_side.h).
  std::optional<std::chrono::nanoseconds> vm_cpu_vcpu;
  std::optional<std::chrono::nanoseconds> vm_cpu_emulator;
  std::optional<std::chrono::nanoseconds> vm_cpu_iothread;
  std::optional<std::chrono::nanoseconds> vm_cpu_vhost;
  std::optional<std::chrono::nanoseconds> vm_vcpu_delay;  // ready to run, waiting for a CPU of the host; not in `cpu`
  std::map<std::string, std::uint64_t> vm_exits;          // why the processor left the guest (vm/exits.h); empty without KVM

  // What a guest says of itself (VM only).
  std::optional<std::chrono::nanoseconds> guest_cpu;    // user + system + irq of /proc/stat in the guest
  std::optional<std::chrono::nanoseconds> guest_steal;  // steal of /proc/stat: ready to run, and the host ran others; 0 without KVM
  std::optional<Bytes> guest_memory_used;               // MemTotal − MemAvailable in the guest
  std::optional<Bytes> guest_memory_total;              // MemTotal: what its kernel has left of its RAM
  std::optional<Bytes> guest_io_read;                   // of its virtio disks, /proc/diskstats; what the host's page cache answers is in it
  std::optional<Bytes> guest_io_write;
  std::optional<std::uint64_t> guest_io_reads;
  std::optional<std::uint64_t> guest_io_writes;
  std::optional<Bytes> guest_network_receive;  // of its interfaces but lo, /proc/net/dev
  std::optional<Bytes> guest_network_transmit;
};

}  // namespace tare
