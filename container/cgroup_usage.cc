// SPDX-License-Identifier: Apache-2.0
#include "container/cgroup_usage.h"

#include <set>
#include <sstream>

#include "core/files.h"

namespace tare::container {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
namespace fs = std::filesystem;

std::optional<Bytes> bytes(std::optional<std::uint64_t> number) { return number ? std::optional(Bytes{*number}) : std::nullopt; }

std::optional<nanoseconds> from_microseconds(std::optional<std::uint64_t> number) {
  return number ? std::optional<nanoseconds>(microseconds(*number)) : std::nullopt;
}

std::optional<nanoseconds> from_nanoseconds(std::optional<std::uint64_t> number) {
  return number ? std::optional<nanoseconds>(*number) : std::nullopt;
}

template <typename T>
void add(std::optional<T>& sum, std::uint64_t more) {
  if constexpr (std::is_same_v<T, Bytes>) {
    sum = Bytes{sum.value_or(Bytes{}).count + more};
  } else {
    sum = sum.value_or(0) + more;
  }
}

// "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …", one line a device.
void read_v2_io(const std::string& text, Usage& usage) {
  usage.io_read = usage.io_write = Bytes{0};
  usage.io_reads = usage.io_writes = 0;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const auto equals = word.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = word.substr(0, equals);
    const std::uint64_t value = std::strtoull(word.c_str() + equals + 1, nullptr, 10);
    if (key == "rbytes") add(usage.io_read, value);
    if (key == "wbytes") add(usage.io_write, value);
    if (key == "rios") add(usage.io_reads, value);
    if (key == "wios") add(usage.io_writes, value);
  }
}

// "8:0 Read 4096", one line a device and direction, then "Total n".
template <typename T>
void read_v1_io(const fs::path& file, std::optional<T>& reads, std::optional<T>& writes) {
  const auto text = try_read_file(file);
  if (!text) return;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string device, direction;
    std::uint64_t value = 0;
    if (!(words >> device >> direction >> value)) continue;
    if (direction == "Read") add(reads, value);
    if (direction == "Write") add(writes, value);
  }
}

void read_v2(const fs::path& group, Usage& usage) {
  if (const auto cpu = try_read_file(group / "cpu.stat")) {
    usage.cpu = from_microseconds(keyed_number(*cpu, "usage_usec"));
    usage.cpu_user = from_microseconds(keyed_number(*cpu, "user_usec"));
    usage.cpu_system = from_microseconds(keyed_number(*cpu, "system_usec"));
  }
  usage.memory = bytes(try_read_number(group / "memory.current"));
  usage.memory_peak = bytes(try_read_number(group / "memory.peak"));
  if (const auto io = try_read_file(group / "io.stat")) read_v2_io(*io, usage);
  usage.processes = try_read_number(group / "pids.current");
  if (const auto events = try_read_file(group / "memory.events")) usage.oom_kills = keyed_number(*events, "oom_kill");
}

void read_v1(const std::map<std::string, fs::path>& groups, Usage& usage) {
  const auto in = [&](const char* controller, const char* file) {
    const auto found = groups.find(controller);
    return found == groups.end() ? fs::path("/nonexistent") : found->second / file;
  };
  // Not cpuacct.stat, which has the same two sums in ticks of 10 ms: a start takes less.
  usage.cpu = from_nanoseconds(try_read_number(in("cpuacct", "cpuacct.usage")));
  usage.cpu_user = from_nanoseconds(try_read_number(in("cpuacct", "cpuacct.usage_user")));
  usage.cpu_system = from_nanoseconds(try_read_number(in("cpuacct", "cpuacct.usage_sys")));
  usage.memory = bytes(try_read_number(in("memory", "memory.usage_in_bytes")));
  usage.memory_peak = bytes(try_read_number(in("memory", "memory.max_usage_in_bytes")));
  // Since Linux 6.10 a disk counts from its first limit on: no line is not 0, and the processes know the bytes.
  read_v1_io(in("blkio", "blkio.throttle.io_service_bytes"), usage.io_read, usage.io_write);
  read_v1_io(in("blkio", "blkio.throttle.io_serviced"), usage.io_reads, usage.io_writes);
  // v1 charges what is written through the page cache to nobody: these two would flatter. The processes know the bytes.
  usage.io_write.reset();
  usage.io_writes.reset();
  usage.processes = try_read_number(in("pids", "pids.current"));
  if (const auto oom = try_read_file(in("memory", "memory.oom_control"))) usage.oom_kills = keyed_number(*oom, "oom_kill");
}

// "Pss:      1234 kB": keyed_number wants one space, these files pad.
std::optional<std::uint64_t> padded_number(const std::string& text, const std::string& key) {
  const auto at = text.find("\n" + key + ":");
  if (at == std::string::npos) return std::nullopt;
  return std::strtoull(text.c_str() + at + key.size() + 2, nullptr, 10);
}

struct FromProcesses {
  bool read = false;  // bytes that no file of the group tells
  bool written = false;
};

void read_process(const fs::path& process, FromProcesses wanted, Usage& usage) {
  if (const auto maps = try_read_file(process / "smaps_rollup")) {
    if (const auto pss = padded_number(*maps, "Pss")) add(usage.memory_pss, *pss * 1024);
  }
  if (const auto io = wanted.written ? try_read_file(process / "io") : std::nullopt) {
    if (const auto written = keyed_number(*io, "write_bytes")) add(usage.io_write, *written);
    if (const auto read = wanted.read ? keyed_number(*io, "read_bytes") : std::nullopt) add(usage.io_read, *read);
  }
  std::error_code ended;
  for (fs::directory_iterator task(process / "task", ended), end; !ended && task != end; task.increment(ended)) {
    const auto status = try_read_file(task->path() / "status");
    if (!status) continue;
    if (const auto count = padded_number(*status, "voluntary_ctxt_switches")) add(usage.switches_voluntary, *count);
    if (const auto count = padded_number(*status, "nonvoluntary_ctxt_switches")) add(usage.switches_involuntary, *count);
  }
}

void read_pids(const fs::path& group, std::set<int>& pids) {
  std::istringstream words(try_read_file(group / "cgroup.procs").value_or(""));
  for (int pid = 0; words >> pid;) pids.insert(pid);
}

}  // namespace

std::set<std::filesystem::path> CgroupPaths::v1_directories() const {
  std::set<std::filesystem::path> list;
  for (const auto& [controller, directory] : v1) list.insert(directory);
  return list;
}

std::set<std::filesystem::path> CgroupPaths::directories() const {
  auto list = v1_directories();
  if (!unified.empty()) list.insert(unified);
  return list;
}

std::vector<int> cgroup_processes(const CgroupPaths& paths) {
  std::set<int> pids;
  if (!paths.unified.empty()) read_pids(paths.unified, pids);
  for (const auto& [controller, group] : paths.v1) read_pids(group, pids);
  pids.erase(0);  // a process of another PID namespace shows as 0
  return {pids.begin(), pids.end()};
}

Usage cgroup_usage(const CgroupPaths& paths) {
  Usage usage;
  if (paths.v1.empty()) {
    read_v2(paths.unified, usage);
  } else {
    read_v1(paths.v1, usage);
  }
  const FromProcesses wanted{!paths.v1.empty() && !usage.io_read, !paths.v1.empty()};
  for (const int pid : cgroup_processes(paths)) read_process(paths.proc / std::to_string(pid), wanted, usage);
  return usage;
}

}  // namespace tare::container
