// SPDX-License-Identifier: Apache-2.0
#include "bench/suite_limits.h"

#include "core/error.h"

namespace tare::bench {
namespace {

using yaml::Map;
using yaml::Value;

constexpr Bytes kLeastMemory = 1_MiB;  // less is a slip (64 instead of 64MiB); whether a guest fits is the backend's to say
constexpr std::int64_t kMostRate = std::int64_t{1} << 40;

double cpus_of(const Value& value) {
  const double cpus = value.number();
  if (cpus < 0.01 || cpus > 4096) value.fail("'" + value.what() + "' is " + value.described() + " and should be from 0.01 to 4096");
  return cpus;
}

Bytes memory_of(const Value& value) {
  const Bytes memory = value.bytes();
  if (memory < kLeastMemory)
    value.fail("'" + value.what() + "' is " + text_of(memory) + ", too little to run anything", "write a unit, as 64MiB");
  return memory;
}

unsigned weight_of(const Value& value) { return static_cast<unsigned>(value.integer(1, 10000)); }

std::string list_of(const Value& value) {
  const std::string list = value.text();
  try {
    parse_index_list(list);
  } catch (const Error& error) {
    value.fail("'" + value.what() + "': " + error.sentence(), error.hint());
  }
  return list;
}

Bytes rate_of(const Value& value) {
  const Bytes rate = value.bytes();
  if (rate == Bytes{0}) value.fail("'" + value.what() + "' is 0 and would stop the workload", "leave it out for no limit");
  return rate;
}

IoLimit io_of(const Value& value) {
  IoLimit io;
  Map map(value);
  const Value device = map.require("device", "write io: [{device: /dev/vda, read: 10MiB}]");
  io.device = device.text();
  if (io.device.empty() || (io.device.front() != '/' && io.device.find(':') == std::string::npos))
    device.fail(yaml::quoted(io.device) + " is no block device", "write a path, as /dev/vda, or its numbers, as '254:0'");
  if (const auto read = map.take("read")) io.read = rate_of(*read);
  if (const auto write = map.take("write")) io.write = rate_of(*write);
  if (const auto reads = map.take("reads")) io.reads = static_cast<std::uint64_t>(reads->integer(1, kMostRate));
  if (const auto writes = map.take("writes")) io.writes = static_cast<std::uint64_t>(writes->integer(1, kMostRate));
  map.finish();
  if (!io.read && !io.write && !io.reads && !io.writes)
    value.fail("io limits nothing on " + io.device, "give read, write, reads or writes");
  return io;
}

std::vector<IoLimit> devices_of(const Value& value) {
  std::vector<IoLimit> devices;
  for (const Value& item : value.items()) {
    devices.push_back(io_of(item));
    for (std::size_t i = 0; i + 1 < devices.size(); ++i) {
      if (devices[i].device == devices.back().device) item.fail("device " + devices.back().device + " stands there twice");
    }
  }
  return devices;
}

std::map<Bytes, Bytes> hugepages_of(const Value& value) {
  std::map<Bytes, Bytes> sizes;
  for (const auto& [key, limit] : value.entries()) {
    Bytes size;
    try {
      size = parse_bytes(key);
    } catch (const Error& error) {
      limit.fail(error.sentence() + " of a page", "write hugepages: {2MiB: 64MiB}");
    }
    const bool power_of_two = size.count >= 4096 && (size.count & (size.count - 1)) == 0;
    if (!power_of_two) limit.fail(yaml::quoted(key) + " is no size of a page", "write hugepages: {2MiB: 64MiB}");
    if (limit.bytes().count % size.count != 0) limit.fail("'" + limit.what() + "' is no whole number of pages of " + key);
    sizes[size] = limit.bytes();
  }
  return sizes;
}

}  // namespace

Limits limits_of(const Value& value) {
  Limits limits;
  Map map(value);
  if (const auto cpus = map.take("cpus")) limits.cpus = cpus_of(*cpus);
  if (const auto weight = map.take("cpu_weight")) limits.cpu_weight = weight_of(*weight);
  if (const auto cpuset = map.take("cpuset")) limits.cpuset = list_of(*cpuset);
  if (const auto nodes = map.take("memory_nodes")) limits.memory_nodes = list_of(*nodes);
  if (const auto memory = map.take("memory")) limits.memory = memory_of(*memory);
  if (const auto high = map.take("memory_high")) limits.memory_high = memory_of(*high);
  const auto swap = map.take("swap");
  if (swap) limits.swap = swap->bytes();
  if (const auto pids = map.take("pids")) limits.pids = pids->integer(1, 4194304);
  if (const auto weight = map.take("io_weight")) limits.io_weight = weight_of(*weight);
  if (const auto io = map.take("io")) limits.io = devices_of(*io);
  if (const auto hugepages = map.take("hugepages")) limits.hugepages = hugepages_of(*hugepages);
  map.finish();
  if (swap && !limits.memory) swap->fail("'" + swap->what() + "' stands beside a memory limit, and there is none", "give memory too");
  return limits;
}

}  // namespace tare::bench
