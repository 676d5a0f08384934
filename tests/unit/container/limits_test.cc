// SPDX-License-Identifier: Apache-2.0
// Which kernel files limits become, on each layout.
#include "container/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/files.h"
#include "tests/support/failure_of.h"

namespace tare::container {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

CgroupLayout v1_layout() {
  CgroupLayout layout;
  for (const char* name : {"blkio", "cpu", "cpuacct", "cpuset", "freezer", "hugetlb", "memory", "pids"}) {
    layout.v1[name] = std::string("/cg/") + name;
  }
  layout.cpus = "0-3";
  layout.memory_nodes = "0";
  layout.swap = true;
  layout.io_weight_files = {"blkio.bfq.weight"};
  return layout;
}

CgroupLayout v2_layout() {
  CgroupLayout layout;
  layout.unified = "/cg";
  layout.v2 = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"};
  layout.cpus = "0-3";
  layout.memory_nodes = "0-1";
  layout.io_weight_files = {"io.weight", "io.bfq.weight"};
  return layout;
}

// v1, and a v2 tree with hugetlb alone: this is what many hosts boot with.
CgroupLayout hybrid_layout() {
  CgroupLayout layout = v1_layout();
  layout.v1.erase("hugetlb");
  layout.unified = "/cg/unified";
  layout.v2 = {"hugetlb"};
  return layout;
}

Limits all_limits() {
  Limits limits;
  limits.cpus = 1.5;
  limits.memory = 64_MiB;
  limits.pids = 100;
  limits.cpu_weight = 200;
  limits.cpuset = "0,2-3";
  limits.swap = 16_MiB;
  limits.io_weight = 2000;
  limits.io = {{"8:0", 1_MiB, 2_MiB, 30, 40}, {"254:0", {}, 5_MiB, {}, {}}};
  limits.hugepages = {{2_MiB, 8_MiB}, {1_GiB, 0_MiB}};
  return limits;
}

std::string text_of(const std::vector<CgroupWrite>& writes) {
  std::string text;
  for (const CgroupWrite& w : writes) text += w.limit + " | " + w.controller + " | " + w.file + " | " + w.value + "\n";
  return text;
}

TEST(CgroupWrites, OnV1) {
  EXPECT_EQ(text_of(cgroup_writes(all_limits(), v1_layout())),
            "cpus | cpu | cpu.cfs_period_us | 100000\n"
            "cpus | cpu | cpu.cfs_quota_us | 150000\n"
            "cpu_weight | cpu | cpu.shares | 2048\n"
            "cpuset | cpuset | cpuset.cpus | 0,2-3\n"
            "memory_nodes | cpuset | cpuset.mems | 0\n"  // a new group has none: the host's
            "memory | memory | memory.limit_in_bytes | 67108864\n"
            "swap | memory | memory.memsw.limit_in_bytes | 83886080\n"
            "pids | pids | pids.max | 100\n"
            "io_weight | blkio | blkio.bfq.weight | 1000\n"
            "io | blkio | blkio.throttle.read_bps_device | 8:0 1048576\n"
            "io | blkio | blkio.throttle.write_bps_device | 8:0 2097152\n254:0 5242880\n"
            "io | blkio | blkio.throttle.read_iops_device | 8:0 30\n"
            "io | blkio | blkio.throttle.write_iops_device | 8:0 40\n"
            "hugepages | hugetlb | hugetlb.2MB.limit_in_bytes | 8388608\n"
            "hugepages | hugetlb | hugetlb.2MB.rsvd.limit_in_bytes | 8388608\n"
            "hugepages | hugetlb | hugetlb.1GB.limit_in_bytes | 0\n"
            "hugepages | hugetlb | hugetlb.1GB.rsvd.limit_in_bytes | 0\n");
}

TEST(CgroupWrites, OnV2) {
  Limits limits = all_limits();
  limits.memory_high = 48_MiB;
  limits.memory_nodes = "1";
  EXPECT_EQ(text_of(cgroup_writes(limits, v2_layout())),
            "cpus | cpu | cpu.max | 150000 100000\n"
            "cpu_weight | cpu | cpu.weight | 200\n"
            "cpuset | cpuset | cpuset.cpus | 0,2-3\n"
            "memory_nodes | cpuset | cpuset.mems | 1\n"
            "memory | memory | memory.max | 67108864\n"
            "swap | memory | memory.swap.max | 16777216\n"
            "memory_high | memory | memory.high | 50331648\n"
            "pids | pids | pids.max | 100\n"
            "io_weight | io | io.weight | 2000\n"
            "io_weight | io | io.bfq.weight | 1000\n"
            "io | io | io.max | 8:0 rbps=1048576 wbps=2097152 riops=30 wiops=40\n254:0 wbps=5242880\n"
            "hugepages | hugetlb | hugetlb.2MB.max | 8388608\n"
            "hugepages | hugetlb | hugetlb.2MB.rsvd.max | 8388608\n"
            "hugepages | hugetlb | hugetlb.1GB.max | 0\n"
            "hugepages | hugetlb | hugetlb.1GB.rsvd.max | 0\n");
}

TEST(CgroupWrites, AControllerOfTheHybridsV2TreeHasTheFilesOfV2) {
  Limits limits;
  limits.pids = 5;
  limits.hugepages = {{2_MiB, 8_MiB}};
  EXPECT_EQ(text_of(cgroup_writes(limits, hybrid_layout())),
            "pids | pids | pids.max | 5\n"
            "hugepages | hugetlb | hugetlb.2MB.max | 8388608\n"
            "hugepages | hugetlb | hugetlb.2MB.rsvd.max | 8388608\n");
}

TEST(CgroupWrites, WithoutSwapAskedForThereIsNone) {
  Limits limits;
  limits.memory = 64_MiB;
  EXPECT_EQ(cgroup_writes(limits, v1_layout())[1].value, "67108864");
  EXPECT_EQ(cgroup_writes(limits, v2_layout())[1].value, "0");
  CgroupLayout without = v1_layout();
  without.swap = false;
  EXPECT_EQ(cgroup_writes(limits, without).size(), 1U);
  limits.swap = 1_MiB;
  EXPECT_THAT(failure_of([&] { cgroup_writes(limits, without); }).second, HasSubstr("swapaccount=1"));
  limits.memory.reset();
  EXPECT_EQ(failure_of([&] { cgroup_writes(limits, v2_layout()); }).first, Code::invalid);
}

TEST(CgroupWrites, WeightsKeepTheirRatioOnV1) {
  Limits limits;
  const auto shares = [&](unsigned weight) {
    limits.cpu_weight = weight;
    return cgroup_writes(limits, v1_layout())[0].value;
  };
  EXPECT_EQ(shares(100), "1024");  // what a group without a weight has
  EXPECT_EQ(shares(400), "4096");
  EXPECT_EQ(shares(1), "10");
  EXPECT_EQ(shares(10000), "102400");
}

TEST(CgroupWrites, NoLimitWritesNothing) { EXPECT_THAT(cgroup_writes({}, v1_layout()), IsEmpty()); }

TEST(CgroupWrites, AMissingControllerIsNamed) {
  for (const char* missing : {"cpu", "cpuset", "memory", "pids", "io", "hugetlb"}) {
    CgroupLayout layout = v2_layout();
    layout.v2.erase(missing);
    const auto [code, sentence] = failure_of([&] { cgroup_writes(all_limits(), layout); });
    EXPECT_EQ(code, Code::unsuited) << missing;
    EXPECT_THAT(sentence, HasSubstr("'" + std::string(missing) + "'"));
  }
}

TEST(CgroupWrites, WhatThisHostDoesNotHaveIsRefusedWithTheReason) {
  const auto refused = [](auto change, const CgroupLayout& layout) {
    Limits limits;
    change(limits);
    const auto [code, sentence] = failure_of([&] { cgroup_writes(limits, layout); });
    EXPECT_EQ(code, Code::unsuited) << sentence;
    return sentence;
  };
  for (const CgroupLayout& layout : {v1_layout(), hybrid_layout()}) {
    EXPECT_THAT(refused([](Limits& l) { l.memory_high = 1_MiB; }, layout), HasSubstr("memory.high of cgroup v2"));
  }
  // v2 itself takes such a list, and then runs the group everywhere.
  EXPECT_THAT(refused([](Limits& l) { l.cpuset = "3-4"; }, v2_layout()), AllOf(HasSubstr("'3-4'"), HasSubstr("0-3")));
  EXPECT_THAT(refused([](Limits& l) { l.memory_nodes = "1"; }, v1_layout()), HasSubstr("memory nodes 0"));
  CgroupLayout unweighed = v2_layout();
  unweighed.io_weight_files.clear();
  EXPECT_THAT(refused([](Limits& l) { l.io_weight = 1; }, unweighed), HasSubstr("BFQ"));
}

TEST(CgroupWrites, LimitsThatNoKernelTakesAreRefused) {
  const auto invalid = [](auto change) {
    Limits limits;
    change(limits);
    return failure_of([&] { cgroup_writes(limits, v2_layout()); }).first == Code::invalid;
  };
  EXPECT_TRUE(invalid([](Limits& l) { l.cpus = 0.001; }));
  EXPECT_TRUE(invalid([](Limits& l) { l.cpus = -1; }));
  EXPECT_TRUE(invalid([](Limits& l) { l.pids = 0; }));
  EXPECT_TRUE(invalid([](Limits& l) { l.cpu_weight = 0; }));
  EXPECT_TRUE(invalid([](Limits& l) { l.cpu_weight = 10001; }));
  EXPECT_TRUE(invalid([](Limits& l) { l.io_weight = 0; }));
  EXPECT_TRUE(invalid([](Limits& l) { l.cpuset = "3-1"; }));
  EXPECT_TRUE(invalid([](Limits& l) { l.memory_nodes = "zero"; }));
  EXPECT_TRUE(invalid([](Limits& l) { l.io = {{"8:0", {}, {}, {}, {}}}; }));
  EXPECT_TRUE(invalid([](Limits& l) { l.io = {{"8:0", Bytes{0}, {}, {}, {}}}; }));
}

std::vector<std::string> files_of(const std::vector<CgroupWrite>& writes) {
  std::vector<std::string> files;
  for (const CgroupWrite& write : writes) files.push_back(write.file);
  return files;
}

Limits memory_of(std::optional<Bytes> memory, std::optional<Bytes> swap = {}) {
  Limits limits;
  limits.memory = memory;
  limits.swap = swap;
  return limits;
}

TEST(CgroupUpdateWrites, TheLargerOfMemoryAndMemswGoesFirstWhenTheyGrow) {
  const char* memory = "memory.limit_in_bytes";
  const char* memsw = "memory.memsw.limit_in_bytes";
  const auto order = [&](const Limits& now, const Limits& change) { return files_of(cgroup_update_writes(now, change, v1_layout())); };
  EXPECT_THAT(order(memory_of(64_MiB), memory_of(128_MiB)), ElementsAre(memsw, memory));
  EXPECT_THAT(order(memory_of(128_MiB), memory_of(64_MiB)), ElementsAre(memory, memsw));
  EXPECT_THAT(order({}, memory_of(64_MiB)), ElementsAre(memory, memsw));  // from unlimited it can only shrink
  EXPECT_THAT(order(memory_of(64_MiB), memory_of({}, 64_MiB)), ElementsAre(memsw, memory));
}

TEST(CgroupUpdateWrites, SwapStaysBesideMemoryWhenOnlyMemoryChanges) {
  const auto writes = cgroup_update_writes(memory_of(64_MiB, 16_MiB), memory_of(128_MiB), v1_layout());
  EXPECT_EQ(writes[0], (CgroupWrite{"swap", "memory", "memory.memsw.limit_in_bytes", std::to_string(144 << 20)}));
  EXPECT_EQ(cgroup_update_writes(memory_of(64_MiB, 16_MiB), memory_of(128_MiB), v2_layout())[1].value, std::to_string(16 << 20));
}

TEST(CgroupUpdateWrites, WhatIsNotGivenIsNotWritten) {
  Limits change;
  change.pids = 7;
  EXPECT_THAT(files_of(cgroup_update_writes(all_limits(), change, v2_layout())), ElementsAre("pids.max"));
  EXPECT_THAT(cgroup_update_writes(all_limits(), {}, v2_layout()), IsEmpty());
  change = {};
  change.cpuset = "1";
  Limits now;
  now.memory_nodes = "0";
  EXPECT_EQ(cgroup_update_writes(now, change, v1_layout())[1].value, "0");
}

TEST(MergedLimits, AreTheOldOnesWithWhatIsGiven) {
  Limits change;
  change.cpus = 1;
  change.io = {{"8:0", 9_MiB, {}, {}, {}}, {"7:7", {}, {}, 5, {}}};
  change.hugepages = {{2_MiB, 2_MiB}};
  Limits wanted = all_limits();
  wanted.cpus = 1;
  wanted.io[0].read = 9_MiB;
  wanted.io.push_back({"7:7", {}, {}, 5, {}});
  wanted.hugepages[2_MiB] = 2_MiB;
  EXPECT_EQ(merged(all_limits(), change), wanted);
  EXPECT_EQ(merged({}, all_limits()), all_limits());
}

TEST(UndoValue, IsWhatTheFileHeld) {
  EXPECT_EQ(undo_value({"cpus", "cpu", "cpu.max", "5000 100000"}, "max 100000\n"), "max 100000");
  EXPECT_EQ(undo_value({"io_weight", "io", "io.weight", "5"}, "default 100\n8:0 3\n"), "default 100");
  EXPECT_EQ(undo_value({"cpuset", "cpuset", "cpuset.cpus", "1"}, "\n"), "");
}

TEST(UndoValue, OfADeviceIsItsLineOrNoLimit) {
  const std::string two = "8:0 rbps=1\n254:0 wbps=5";
  EXPECT_EQ(undo_value({"io", "io", "io.max", two}, "254:0 rbps=max wbps=9 riops=max wiops=max\n"),
            "8:0 rbps=max wbps=max riops=max wiops=max\n254:0 rbps=max wbps=9 riops=max wiops=max");
  EXPECT_EQ(undo_value({"io", "blkio", "blkio.throttle.read_bps_device", "8:0 7"}, "8:16 4\n"), "8:0 0");
  EXPECT_EQ(undo_value({"io", "blkio", "blkio.throttle.read_bps_device", "8:0 7"}, "8:0 4\n"), "8:0 4");
}

TEST(LimitRefused, NamesLimitGroupCauseAndValue) {
  const Error cause(Code::conflict, "write memory.limit_in_bytes: Device or resource busy");
  const Error error = limit_refused("tare/t1", {"memory", "memory", "memory.limit_in_bytes", "4096"}, cause, "as before");
  EXPECT_EQ(error.sentence(), "limit memory of control group tare/t1: write memory.limit_in_bytes: Device or resource busy ('4096')");
}

class Devices : public ::testing::Test {
 protected:
  Devices() {
    fs::create_directories(sys.path() / "devices/vda/vda1");
    fs::create_directories(sys.path() / "dev/block");
    std::ofstream(sys.path() / "devices/vda/vda1/partition") << "1\n";
    fs::create_symlink("../../devices/vda", sys.path() / "dev/block/254:0");
    fs::create_symlink("../../devices/vda/vda1", sys.path() / "dev/block/254:1");
  }
  std::pair<Code, std::string> refusal(const std::string& device) {
    return failure_of([&] { resolve(device); });
  }
  std::string resolve(const std::string& device) {
    Limits limits;
    limits.io = {{device, 1_MiB, {}, {}, {}}};
    return resolve_devices(limits, sys.path()).io[0].device;
  }
  TempDir sys;
};

TEST_F(Devices, NumbersStandForThemselves) { EXPECT_EQ(resolve("254:0"), "254:0"); }

TEST_F(Devices, WhatIsNoDiskIsNamed) {
  EXPECT_EQ(refusal("/dev/no-such-disk").first, Code::not_found);
  EXPECT_THAT(refusal("/dev/null").second, HasSubstr("/dev/null is no block device"));
  EXPECT_THAT(refusal("99:99").second, HasSubstr("no block device '99:99'"));
  EXPECT_THAT(refusal("../../etc").second, HasSubstr("no block device"));
  EXPECT_THAT(refusal("").second, HasSubstr("no block device ''"));
}

TEST_F(Devices, APartitionIsRefusedWithItsDisk) {
  EXPECT_THAT(refusal("254:1").second, AllOf(HasSubstr("254:1 is a partition"), HasSubstr("/dev/vda")));
}

}  // namespace
}  // namespace tare::container
