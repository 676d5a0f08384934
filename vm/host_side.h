// SPDX-License-Identifier: Apache-2.0
// What a machine costs on the host, by what it was for: the threads of its QEMU apart.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>

namespace tare::vm {

struct HostSide {
  std::chrono::nanoseconds vcpu{0};        // threads that run the guest ("CPU n/KVM", "CPU n/TCG", "ALL CPUs/TCG")
  std::chrono::nanoseconds vcpu_delay{0};  // those threads, ready to run and waiting for a CPU: what the guest sees as steal
  std::chrono::nanoseconds iothread{0};    // of disks ("IO iothreadn")
  std::chrono::nanoseconds vhost{0};       // the kernel's, of its network ("vhost-<pid>")
  std::chrono::nanoseconds emulator{0};    // all else of the process, its threads that have ended among them
};

/// Reads <proc>/<pid>/task/*/comm and schedstat (Documentation/scheduler/sched-stats.rst: nanoseconds on a CPU, nanoseconds in a queue).
/// `total` is the CPU time of the whole process, asked for after its threads were read. Where vhost is a kernel thread of its own (before
/// Linux 6.4), it is looked for in all of <proc>, but only with `has_vhost`. Nothing when the process is gone, or the kernel keeps no such
/// statistics. Any thread.
std::optional<HostSide> read_host_side(const std::filesystem::path& proc, int pid, bool has_vhost,
                                       const std::function<std::optional<std::chrono::nanoseconds>()>& total);
/// The same of a process of this host.
std::optional<HostSide> read_host_side(int pid, bool has_vhost);

}  // namespace tare::vm
