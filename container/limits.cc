// SPDX-License-Identifier: Apache-2.0
#include "container/limits.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <sstream>

namespace tare::container {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPeriod = 100'000;    // µs, as Docker's
constexpr std::int64_t kLeastQuota = 1'000;  // µs: the kernel takes no less
constexpr unsigned kMostWeight = 10'000;     // v2 cpu.weight and io.weight
constexpr unsigned kMostBfqWeight = 1'000;   // io.bfq.weight, blkio.bfq.weight and blkio.weight

/// The writes of one set of limits, collected field by field.
class Writes {
 public:
  explicit Writes(const CgroupLayout& layout) : layout_(layout) {}
  void cpu(const Limits& limits);
  void cpuset(const Limits& limits);
  void memory(const Limits& limits);
  void pids(std::int64_t most);
  void io_weight(unsigned weight);
  void io(const std::vector<IoLimit>& devices);
  void hugepages(const std::map<Bytes, Bytes>& sizes);
  std::vector<CgroupWrite> list;

 private:
  /// Whether the files of `controller` are those of v2. Throws when this host has no such controller.
  bool on_v2(const std::string& controller, const char* limit) const {
    if (layout_.has(controller)) return layout_.on_v2(controller);
    throw Error(Code::unsuited,
                std::string("the ") + limit + " limit needs the cgroup controller '" + controller + "', which this host lacks",
                "boot with cgroup_enable=" + controller + ", or leave the limit out");
  }
  void subset(const char* limit, const std::string& wanted, const std::string& there, const char* what) const;
  void throttle(const IoLimit& device);

  const CgroupLayout& layout_;
};

void check_weight(const char* limit, unsigned weight) {
  if (weight >= 1 && weight <= kMostWeight) return;
  throw Error(Code::invalid, std::string(limit) + " is " + std::to_string(weight) + " and should be from 1 to 10000");
}

void Writes::cpu(const Limits& limits) {
  if (limits.cpus) {
    const bool v2 = on_v2("cpu", "cpus");
    const auto quota = static_cast<std::int64_t>(std::llround(*limits.cpus * static_cast<double>(kPeriod)));
    if (quota < kLeastQuota) {
      throw Error(Code::invalid, "limit of " + std::to_string(*limits.cpus) + " CPUs is too small", "give at least 0.01");
    }
    if (v2) {
      list.push_back({"cpus", "cpu", "cpu.max", std::to_string(quota) + " " + std::to_string(kPeriod)});
    } else {
      list.push_back({"cpus", "cpu", "cpu.cfs_period_us", std::to_string(kPeriod)});
      list.push_back({"cpus", "cpu", "cpu.cfs_quota_us", std::to_string(quota)});
    }
  }
  if (limits.cpu_weight) {
    check_weight("cpu_weight", *limits.cpu_weight);
    const bool v2 = on_v2("cpu", "cpu_weight");
    // The kernel's own conversion: weight 100 is what shares 1024 are, and ratios stay what they are.
    const unsigned value = v2 ? *limits.cpu_weight : std::max(2U, (*limits.cpu_weight * 1024 + 50) / 100);
    list.push_back({"cpu_weight", "cpu", v2 ? "cpu.weight" : "cpu.shares", std::to_string(value)});
  }
}

// v2 takes a list without any CPU of this host, and then runs the group on all of them.
void Writes::subset(const char* limit, const std::string& wanted, const std::string& there, const char* what) const {
  const auto asked = parse_index_list(wanted);
  const auto host = parse_index_list(there);
  if (std::includes(host.begin(), host.end(), asked.begin(), asked.end())) return;
  throw Error(Code::unsuited, std::string(limit) + " is '" + wanted + "', and this host has the " + what + " " + there,
              "choose among them");
}

void Writes::cpuset(const Limits& limits) {
  if (limits.cpuset.empty() && limits.memory_nodes.empty()) return;
  const bool v2 = on_v2("cpuset", limits.cpuset.empty() ? "memory_nodes" : "cpuset");
  if (!limits.cpuset.empty()) subset("cpuset", limits.cpuset, layout_.cpus, "CPUs");
  if (!limits.memory_nodes.empty()) subset("memory_nodes", limits.memory_nodes, layout_.memory_nodes, "memory nodes");
  // A new group of v1 has neither, and no task can enter it before it has both.
  const auto value = [&](const std::string& own, const std::string& parent) { return own.empty() && !v2 ? parent : own; };
  const std::string cpus = value(limits.cpuset, layout_.cpus);
  const std::string nodes = value(limits.memory_nodes, layout_.memory_nodes);
  if (!cpus.empty()) list.push_back({"cpuset", "cpuset", "cpuset.cpus", cpus});
  if (!nodes.empty()) list.push_back({"memory_nodes", "cpuset", "cpuset.mems", nodes});
}

// No swap beside the limit unless asked for: a workload that swaps would be measured as slow, not as too big, and a guest has none either.
void Writes::memory(const Limits& limits) {
  if (limits.swap && !limits.memory) {
    throw Error(Code::invalid, "the swap limit stands beside a memory limit, and there is none", "give limits.memory too");
  }
  if (limits.memory) {
    const std::uint64_t swap = limits.swap.value_or(Bytes{}).count;
    const std::string value = std::to_string(limits.memory->count);
    if (on_v2("memory", "memory")) {
      list.push_back({"memory", "memory", "memory.max", value});
      list.push_back({"swap", "memory", "memory.swap.max", std::to_string(swap)});
    } else {
      list.push_back({"memory", "memory", "memory.limit_in_bytes", value});
      // Never below the first, so it comes second.
      if (layout_.swap) list.push_back({"swap", "memory", "memory.memsw.limit_in_bytes", std::to_string(limits.memory->count + swap)});
      if (!layout_.swap && limits.swap) {
        throw Error(Code::unsuited, "the swap limit needs memory.memsw.limit_in_bytes, which this host lacks", "boot with swapaccount=1");
      }
    }
  }
  if (!limits.memory_high) return;
  if (!on_v2("memory", "memory_high")) {
    throw Error(Code::unsuited, "the memory_high limit is memory.high of cgroup v2, and the memory controller of this host is on v1",
                "leave it out, or boot with cgroup_no_v1=memory");
  }
  list.push_back({"memory_high", "memory", "memory.high", std::to_string(limits.memory_high->count)});
}

void Writes::pids(std::int64_t most) {
  if (most < 1) throw Error(Code::invalid, "limit of " + std::to_string(most) + " processes is too small", "give at least 1");
  on_v2("pids", "pids");
  list.push_back({"pids", "pids", "pids.max", std::to_string(most)});
}

void Writes::io_weight(unsigned weight) {
  check_weight("io_weight", weight);
  const std::string controller = layout_.is_v2() || !layout_.v1.contains("blkio") ? "io" : "blkio";
  on_v2(controller, "io_weight");
  if (layout_.io_weight_files.empty()) {
    throw Error(Code::unsuited, "the io_weight limit needs a kernel that weighs disk access, and this one has neither iocost nor BFQ",
                "modprobe bfq, or leave the limit out");
  }
  for (const std::string& file : layout_.io_weight_files) {
    const unsigned value = file == "io.weight" ? weight : std::min(weight, kMostBfqWeight);
    list.push_back({"io_weight", controller, file, std::to_string(value)});
  }
}

/// Adds a line to the value of a file: the file takes one device a write.
void add_line(std::vector<CgroupWrite>& list, const std::string& controller, const std::string& file, const std::string& line) {
  for (CgroupWrite& write : list) {
    if (write.file != file) continue;
    write.value += "\n" + line;
    return;
  }
  list.push_back({"io", controller, file, line});
}

void Writes::throttle(const IoLimit& io) {
  struct Row {
    std::optional<std::uint64_t> value;
    const char* v1;
    const char* v2;
  };
  const auto count = [](const std::optional<Bytes>& bytes) { return bytes ? std::optional(bytes->count) : std::nullopt; };
  const Row rows[] = {{count(io.read), "blkio.throttle.read_bps_device", "rbps"},
                      {count(io.write), "blkio.throttle.write_bps_device", "wbps"},
                      {io.reads, "blkio.throttle.read_iops_device", "riops"},
                      {io.writes, "blkio.throttle.write_iops_device", "wiops"}};
  const bool v1 = layout_.v1.contains("blkio");
  on_v2(v1 ? "blkio" : "io", "io");
  std::string together;
  for (const Row& row : rows) {
    if (!row.value) continue;
    if (*row.value == 0) throw Error(Code::invalid, "the io limit of " + io.device + " is 0, which no kernel takes", "give at least 1");
    together += std::string(" ") + row.v2 + "=" + std::to_string(*row.value);
    if (v1) add_line(list, "blkio", row.v1, io.device + " " + std::to_string(*row.value));
  }
  if (together.empty()) throw Error(Code::invalid, "the io limit of " + io.device + " limits nothing", "give read, write, reads or writes");
  if (!v1) add_line(list, "io", "io.max", io.device + together);
}

void Writes::io(const std::vector<IoLimit>& devices) {
  for (const IoLimit& device : devices) throttle(device);
}

/// As the kernel names its files: "2MB", "1GB", "64KB".
std::string page_word(Bytes size) {
  if (size.count >= 1U << 30) return std::to_string(size.count >> 30) + "GB";
  if (size.count >= 1U << 20) return std::to_string(size.count >> 20) + "MB";
  return std::to_string(size.count >> 10) + "KB";
}

void Writes::hugepages(const std::map<Bytes, Bytes>& sizes) {
  for (const auto& [size, limit] : sizes) {
    const bool v2 = on_v2("hugetlb", "hugepages");
    const std::string prefix = "hugetlb." + page_word(size);
    // The reservation too, where mmap(2) then fails: without it the workload dies of SIGBUS at the first touch.
    for (const char* kind : {".", ".rsvd."}) {
      list.push_back({"hugepages", "hugetlb", prefix + kind + (v2 ? "max" : "limit_in_bytes"), std::to_string(limit.count)});
    }
  }
}

std::string first_word(const std::string& line) { return line.substr(0, line.find(' ')); }

}  // namespace

std::vector<CgroupWrite> cgroup_writes(const Limits& limits, const CgroupLayout& layout) {
  Writes writes(layout);
  writes.cpu(limits);
  writes.cpuset(limits);
  writes.memory(limits);
  if (limits.pids) writes.pids(*limits.pids);
  if (limits.io_weight) writes.io_weight(*limits.io_weight);
  writes.io(limits.io);
  writes.hugepages(limits.hugepages);
  return std::move(writes.list);
}

std::vector<CgroupWrite> cgroup_update_writes(const Limits& now, const Limits& change, const CgroupLayout& layout) {
  const Limits after = merged(now, change);
  Limits given = change;
  if (given.memory || given.swap) {
    given.memory = after.memory;
    given.swap = after.swap;
  }
  if (!given.cpuset.empty() || !given.memory_nodes.empty()) {
    given.cpuset = after.cpuset;
    given.memory_nodes = after.memory_nodes;
  }
  std::vector<CgroupWrite> writes = cgroup_writes(given, layout);
  // v1: memory and swap together are never less than memory alone, so the larger one goes first when they grow.
  const auto total = [](const Limits& limits) { return limits.memory.value_or(Bytes{}).count + limits.swap.value_or(Bytes{}).count; };
  const auto memsw = std::find_if(writes.begin(), writes.end(), [](const auto& w) { return w.file == "memory.memsw.limit_in_bytes"; });
  if (memsw != writes.end() && now.memory && total(after) > total(now)) std::iter_swap(memsw - 1, memsw);
  return writes;
}

Limits merged(Limits now, const Limits& change) {
  const auto take = [](auto& mine, const auto& given) {
    if (given) mine = given;
  };
  take(now.cpus, change.cpus);
  take(now.memory, change.memory);
  take(now.pids, change.pids);
  take(now.cpu_weight, change.cpu_weight);
  take(now.memory_high, change.memory_high);
  take(now.swap, change.swap);
  take(now.io_weight, change.io_weight);
  if (!change.cpuset.empty()) now.cpuset = change.cpuset;
  if (!change.memory_nodes.empty()) now.memory_nodes = change.memory_nodes;
  for (const auto& [size, limit] : change.hugepages) now.hugepages[size] = limit;
  for (const IoLimit& io : change.io) {
    const auto mine = std::find_if(now.io.begin(), now.io.end(), [&](const IoLimit& other) { return other.device == io.device; });
    IoLimit& entry = mine != now.io.end() ? *mine : now.io.emplace_back(IoLimit{io.device});
    take(entry.read, io.read);
    take(entry.write, io.write);
    take(entry.reads, io.reads);
    take(entry.writes, io.writes);
  }
  return now;
}

std::string undo_value(const CgroupWrite& write, const std::string& content) {
  if (write.limit != "io") return content.substr(0, content.find('\n'));
  const char* unlimited = write.file == "io.max" ? " rbps=max wbps=max riops=max wiops=max" : " 0";
  std::string value;
  std::istringstream changed(write.value);
  for (std::string change; std::getline(changed, change);) {
    std::string before = first_word(change) + unlimited;
    std::istringstream lines(content);
    for (std::string line; std::getline(lines, line);) {
      if (first_word(line) == first_word(change)) before = line;
    }
    value += (value.empty() ? "" : "\n") + before;
  }
  return value;
}

Error limit_refused(const std::string& group, const CgroupWrite& write, const Error& cause, const std::string& hint) {
  const bool too_small = write.controller == "memory" && cause.code() == code_of_errno(EBUSY);
  return Error(cause.code(), "limit " + write.limit + " of control group " + group + ": " + cause.sentence() + " ('" + write.value + "')",
               too_small ? "it uses more than that already" : hint);
}

Limits resolve_devices(Limits limits, const fs::path& sys) {
  for (IoLimit& io : limits.io) {
    const std::string name = io.device;
    if (name.starts_with('/')) {
      struct stat status {};
      if (::stat(name.c_str(), &status) != 0) throw_errno("io limit of " + name, "name a disk, as /dev/vda");
      if (!S_ISBLK(status.st_mode)) throw Error(Code::invalid, "io limit: " + name + " is no block device", "name a disk, as /dev/vda");
      io.device = std::to_string(major(status.st_rdev)) + ":" + std::to_string(minor(status.st_rdev));
    }
    const fs::path known = sys / "dev/block" / io.device;
    const bool numbers = !io.device.empty() && io.device.find_first_not_of("0123456789:") == std::string::npos;
    if (!numbers || !fs::exists(known)) {
      throw Error(Code::not_found, "io limit: there is no block device '" + name + "'", "name a disk, as /dev/vda or 254:0");
    }
    if (fs::exists(known / "partition")) {
      throw Error(Code::invalid, "io limit: " + name + " is a partition, and the kernel limits whole disks",
                  "name its disk, /dev/" + fs::canonical(known).parent_path().filename().string());
    }
  }
  return limits;
}

}  // namespace tare::container
