// SPDX-License-Identifier: Apache-2.0
#include "bench/host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/files.h"

namespace tare::bench {
namespace {

using testing::Contains;
using testing::HasSubstr;

class HostTest : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& content) {
    const auto file = root.path() / path;
    std::filesystem::create_directories(file.parent_path());
    write_file_atomic(file, content);
  }
  // A machine that spoils nothing.
  void quiet_machine() {
    put("proc/cpuinfo",
        "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Example CPU\nflags\t\t: fpu vmx\n\n"
        "processor\t: 1\nvendor_id\t: GenuineIntel\nmodel name\t: Example CPU\nflags\t\t: fpu vmx\n");
    put("proc/stat", "cpu  1000 0 1000 100000 0 0 0 0 0 0\n");
    put("proc/loadavg", "0.10 0.20 0.30 1/100 7\n");
    put("proc/meminfo",
        "MemTotal:       8388608 kB\nMemAvailable:    4194304 kB\nSwapTotal:      1048576 kB\nSwapFree:       1048576 kB\n");
    put("proc/sys/kernel/osrelease", "6.1.0-example\n");
    put("proc/self/mounts", "overlay / overlay rw 0 0\n/dev/sda1 / ext4 rw,relatime 0 0\nnone /sys/fs/cgroup cgroup2 rw 0 0\n");
    put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    put("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
    put("sys/devices/system/cpu/smt/control", "off\n");
    put("sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI\n");
    put("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    put("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    put("sys/kernel/mm/ksm/run", "0\n");
    put("etc/os-release", "ID=example\nPRETTY_NAME=\"Example 12\"\n");
  }
  const Check& check(const HostContext& host, const std::string& name) {
    const auto found = std::find_if(host.checks.begin(), host.checks.end(), [&](const Check& c) { return c.name == name; });
    EXPECT_NE(found, host.checks.end()) << name;
    static const Check kNone;
    return found == host.checks.end() ? kNone : *found;
  }

  TempDir root;
};

TEST_F(HostTest, AQuietMachineHasFactsAndNoWarnings) {
  quiet_machine();
  const HostContext host = host_context(root.path());
  EXPECT_THAT(host.warnings, testing::IsEmpty());
  EXPECT_EQ(host.checks.size(), 13U);
  EXPECT_EQ(host.facts.at("cpu.model"), "Example CPU");
  EXPECT_EQ(host.facts.at("cpu.count"), "2");
  EXPECT_EQ(host.facts.at("memory.bytes"), "8589934592");
  EXPECT_EQ(host.facts.at("memory.thp"), "madvise");
  EXPECT_EQ(host.facts.at("root.filesystem"), "ext4") << "the mount that lies on top";
  EXPECT_EQ(host.facts.at("cgroup.layout"), "v2");
  EXPECT_EQ(host.facts.at("virtualization"), "none");
  EXPECT_EQ(host.facts.at("os"), "Example 12");
}

struct Spoiler {
  const char* check;
  const char* path;
  const char* content;
  const char* said;
  const char* remedy;
};
class SpoiledHost : public HostTest, public testing::WithParamInterface<Spoiler> {};

TEST_P(SpoiledHost, IsWarnedOfWithTheRemedy) {
  quiet_machine();
  put(GetParam().path, GetParam().content);
  const HostContext host = host_context(root.path());
  const Check& found = check(host, GetParam().check);
  EXPECT_FALSE(found.ok);
  EXPECT_THAT(found.sentence, HasSubstr(GetParam().said));
  EXPECT_THAT(found.remedy, HasSubstr(GetParam().remedy));
  ASSERT_EQ(host.warnings.size(), 1U);
  EXPECT_EQ(host.warnings[0], found.sentence + ": " + found.remedy);
  EXPECT_EQ(found.sentence.find(": "), std::string::npos) << "the first colon of a warning begins its remedy";
}

const Spoiler kSpoilers[] = {
    {"governor", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n", "'powersave'", "cpupower"},
    {"turbo", "sys/devices/system/cpu/intel_pstate/no_turbo", "0\n", "turbo is on", "no_turbo"},
    {"smt", "sys/devices/system/cpu/smt/control", "on\n", "SMT is on", "smt/control"},
    {"nested", "proc/cpuinfo", "processor : 0\nflags : fpu hypervisor\n", "virtual machine itself", "machine of your own"},
    {"steal", "proc/stat", "cpu  1000 0 1000 1000 0 0 0 100 0 0\n", "3.23 %", "dedicated CPUs"},
    {"load", "proc/loadavg", "1.90 1 1 1/1 1\n", "1.90 on 2 CPUs", "top"},
    {"memory", "proc/meminfo", "MemTotal: 999999 kB\nMemAvailable: 102400 kB\n", "only 100 MiB", "limits.memory"},
    {"swap", "proc/meminfo", "MemAvailable: 4194304 kB\nSwapTotal: 1048576 kB\nSwapFree: 524288 kB\n", "512 MiB are swapped out",
     "swapoff"},
    {"thp", "sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n", "'always'", "madvise"},
    {"ksm", "sys/kernel/mm/ksm/run", "1\n", "KSM", "ksm/run"},
    {"clocksource", "sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n", "'hpet'", "clocksource=tsc"},
    {"cgroup", "proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n", "no control groups", "mount"},
    {"mitigations", "sys/devices/system/cpu/vulnerabilities/meltdown", "Vulnerable\n", "meltdown", "mitigations"},
};
INSTANTIATE_TEST_SUITE_P(Host, SpoiledHost, testing::ValuesIn(kSpoilers),
                         [](const auto& spoiler) { return std::string(spoiler.param.check); });

TEST_F(HostTest, WhatCannotBeReadIsAbsentAndNotAsked) {
  const HostContext host = host_context(root.path());
  EXPECT_TRUE(host.facts.empty());
  EXPECT_TRUE(host.checks.empty());
  EXPECT_TRUE(host.warnings.empty());
}

TEST_F(HostTest, BrokenFilesDoNotBreakIt) {
  for (const char* path : {"proc/cpuinfo", "proc/stat", "proc/loadavg", "proc/meminfo", "proc/self/mounts", "etc/os-release",
                           "sys/kernel/mm/transparent_hugepage/enabled", "sys/devices/system/cpu/smt/control"}) {
    put(path, std::string("\0\xff:::[[]\n\n cpu", 15));
  }
  EXPECT_NO_THROW(host_context(root.path()));
}

TEST_F(HostTest, HybridControlGroupsAreToldApart) {
  quiet_machine();
  put("proc/self/mounts", "c /sys/fs/cgroup/cpu cgroup rw 0 0\nc /sys/fs/cgroup/unified cgroup2 rw 0 0\n");
  EXPECT_EQ(host_context(root.path()).facts.at("cgroup.layout"), "hybrid");
  put("proc/self/mounts", "c /sys/fs/cgroup/cpu cgroup rw 0 0\n");
  EXPECT_EQ(host_context(root.path()).facts.at("cgroup.layout"), "v1");
}

TEST_F(HostTest, TheFingerprintIsOfTheMachineAndNotOfTheMoment) {
  quiet_machine();
  const std::string before = host_context(root.path()).facts.at("fingerprint");
  put("proc/loadavg", "0.90 0.20 0.30 1/100 7\n");
  EXPECT_EQ(host_context(root.path()).facts.at("fingerprint"), before);
  put("proc/sys/kernel/osrelease", "6.2.0\n");
  EXPECT_NE(host_context(root.path()).facts.at("fingerprint"), before);
}

TEST_F(HostTest, ThisMachineTellsItsKernelAndMemory) {
  const HostContext host = host_context();
  EXPECT_TRUE(host.facts.contains("kernel.release"));
  EXPECT_TRUE(host.facts.contains("memory.bytes"));
  EXPECT_TRUE(host.facts.contains("cpu.count"));
}

}  // namespace
}  // namespace tare::bench
