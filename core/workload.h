// SPDX-License-Identifier: Apache-2.0
// What is run: an image, a command, its environment, limits, ports and what "ready" means. Plain data, the same for every
// backend; no field but vm_profile names one.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/streams.h"
#include "core/ulimits.h"
#include "core/units.h"

namespace tare {

/// Limits of one block device, per second. v2 io.max; v1 blkio.throttle.{read,write}_{bps,iops}_device.
struct IoLimit {
  std::string device;  // "/dev/vda", or its numbers "254:0"; a whole disk
  std::optional<Bytes> read{};
  std::optional<Bytes> write{};  // v1 limits what bypasses the page cache alone
  std::optional<std::uint64_t> reads{};
  std::optional<std::uint64_t> writes{};
  bool operator==(const IoLimit&) const = default;
};

/// Absent means unlimited. For a VM they hold for QEMU, where the comment says nothing else.
struct Limits {
  std::optional<double> cpus{};        // CPU time per wall time, as docker --cpus; a VM gets ceil(cpus) vCPUs, at least 1
  std::optional<Bytes> memory{};       // container: memory limit; VM: memory of the guest
  std::optional<std::int64_t> pids{};  // processes and threads of the workload
  std::optional<unsigned> cpu_weight{};  // 1–10000, 100 without: v2 cpu.weight; v1 cpu.shares = weight × 1024 / 100, the kernel's own scale
  std::string cpuset{};                  // "0-3,7": CPUs it may run on, cpuset.cpus. Empty: all
  std::string memory_nodes{};            // "0,1": NUMA nodes it may allocate from, cpuset.mems. Empty: all
  std::optional<Bytes> memory_high{};  // v2 memory.high: reclaimed and slowed above it. v1 has none, nor has a guest
  std::optional<Bytes> swap{};  // beside `memory`; absent: none. v2 memory.swap.max; v1 memory.memsw = memory + swap. A guest has none
  std::optional<unsigned> io_weight{};  // 1–10000, 100 without: v2 io.weight, io.bfq.weight; v1 blkio.bfq.weight (both at most 1000)
  std::vector<IoLimit> io{};            // one entry a device
  std::map<Bytes, Bytes> hugepages{};   // page size → limit: v2 hugetlb.<size>.max; v1 hugetlb.<size>.limit_in_bytes. A guest has none
  bool operator==(const Limits&) const = default;
};

/// What "ready" means. Detected from outside the instance, by one mechanism for all backends (core/readiness.h).
struct Ready {
  enum class Kind {
    executed,  // the workload's execve succeeded; nothing more is asked
    exit,      // it ended with exit code 0
    log,       // a line of its output contains `pattern`
    tcp,       // `port` accepts a connection
    http,      // GET `path` on `port` answers 200–399
    exec,      // `command` in the instance ends with exit code 0
  };
  Kind kind = Kind::executed;
  std::uint16_t port = 0;
  std::string path = "/";
  std::string pattern;
  std::vector<std::string> command;
  bool operator==(const Ready&) const = default;
};

/// How much of its output is kept on disk: files of `max_size`, of which the newest `max_files` stay.
struct LogLimits {
  Bytes max_size = 10_MiB;
  int max_files = 3;
  bool operator==(const LogLimits&) const = default;
};

/// Which network the workload sees. metal always has the host's.
enum class Network {
  none,    // loopback only
  link,    // a point-to-point link to the host, on which its ports are reached: nothing else lies between, so measurements use it
  bridge,  // a place on the bridge tare0: other instances, the way out, published ports (core/bridge.h)
  host,    // the host's own; not for a VM
};

/// A TCP port of the host that leads to one of the workload's, with Network::bridge. metal shares the host's ports and has no use for it.
struct Publish {
  std::uint16_t host = 0;
  std::uint16_t port = 0;
  bool operator==(const Publish&) const = default;
};

/// Which protections a container has; metal has none, a VM has its own kernel.
enum class Security { standard, strict, none };

/// What a workload sees besides its image. The rules are in core/mount_rules.h.
struct Mount {
  enum class Type {
    bind,    // a directory or file of the host
    volume,  // a directory that tare keeps under a name, state/volumes/<name>; made on first use, never removed with an instance
    tmpfs,   // memory, gone with the instance
  };
  Type type = Type::bind;
  std::string source;  // bind: absolute path on the host; volume: its name; tmpfs: empty
  std::string target;  // absolute path in the instance; made when the image lacks it
  bool read_only = false;
  std::optional<Bytes> size;  // of a tmpfs; absent: half of the memory, as the kernel has it
  bool operator==(const Mount&) const = default;
};

/// What a container can share with the host instead of having its own.
enum class Namespace { pid, ipc, uts, net, cgroup, time };
constexpr std::string_view kNamespaceNames[] = {"pid", "ipc", "uts", "net", "cgroup", "time"};
inline std::string_view name(Namespace space) noexcept { return kNamespaceNames[static_cast<std::size_t>(space)]; }

/// How much of a start is made before it is asked for, by Backend::prepare(). Named variants, because what was made beforehand is missing
/// in the time that is measured.
enum class Start {
  cold,    // nothing: everything is made for this instance
  pooled,  // metal and container: root filesystem, control group and network namespace wait for any command in this image and these limits
  zygote,  // metal and container: a process of this very workload waits, right before its execve
  restored,  // VM: a clone of a guest of this very workload, which was frozen when it was ready: its memory, state and disk are there
  parked,    // VM: such a clone that waits already, stopped
};
constexpr std::string_view kStartNames[] = {"cold", "pooled", "zygote", "restored", "parked"};
inline std::string_view name(Start start) noexcept { return kStartNames[static_cast<std::size_t>(start)]; }

/// How the machine of a guest is shaped (vm/profile.h). metal and containers have no machine.
enum class VmProfile {
  standard,  // "default"
  minimal,   // the least devices and the least memory of QEMU's own
  matched,   // what the workload would have on metal: CPUs and their flags, NUMA node, usable memory, kernel
  tuned,     // all that makes a guest fast and that this host has
};
constexpr std::string_view kVmProfileNames[] = {"default", "minimal", "matched", "tuned"};
inline std::string_view name(VmProfile profile) noexcept { return kVmProfileNames[static_cast<std::size_t>(profile)]; }

/// Whose user and group ids a container's are.
enum class Userns {
  host,       // the host's: its root is the host's, held back by the other protections alone
  automatic,  // 65536 of the host's that nobody else has, with a user namespace around it; "auto"
};

struct Workload {
  std::string name;                      // as in the suite; [a-z0-9][a-z0-9_.-]{0,62}
  std::string image;                     // image reference, resolved by image::Store
  std::vector<std::string> command;      // argv; empty: the image's own command. argv[0] is looked up in the image's PATH
  std::vector<std::string> environment;  // KEY=VALUE, on top of the image's
  std::string working_directory;         // empty: the image's, else "/"
  std::string hostname;                  // empty: the instance's id
  std::string user;                      // name|uid[:group|gid], names as the image's /etc/passwd has them; empty: root
  unsigned umask = 022;
  std::vector<Ulimit> ulimits;  // on top of core 0 and nofile 1024:524288
  bool open_stdin = false;      // its stdin stays open until who feeds it closes it; else it reads /dev/null
  bool tty = false;             // it has a terminal, which is its stdin too; what it writes there is stdout
  TerminalSize terminal;        // the terminal's first size
  bool init = false;            // PID 1 is a process of tare's that reaps orphans and hands signals on to the command, its child
  Limits limits;
  LogLimits log;
  std::vector<std::uint16_t> ports;  // TCP ports the workload listens on
  Network network = Network::none;
  std::vector<Publish> publish;
  std::vector<std::string> dns;  // addresses of name servers; empty: the host's, where the network leads to them
  Security security = Security::standard;
  std::vector<Mount> mounts;
  bool read_only_root = false;             // nothing but its mounts can be written
  std::vector<Namespace> host_namespaces;  // a container shares these with the host; metal shares them all
  std::vector<std::string> devices;        // device nodes of the host that it sees at the same path, as /dev/fuse
  Userns userns = Userns::host;
  Start start = Start::cold;
  std::optional<VmProfile> vm_profile;  // of its guest; absent: the agent's
  Ready ready;
  std::chrono::nanoseconds start_timeout = std::chrono::seconds(60);  // requested → ready
  std::chrono::nanoseconds stop_grace = std::chrono::seconds(10);     // SIGTERM → SIGKILL
  bool operator==(const Workload&) const = default;
};

}  // namespace tare
