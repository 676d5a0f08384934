// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "container/capabilities.h"
#include "container/cgroup_plan.h"
#include "container/cgroup_usage.h"
#include "container/isolation.h"
#include "container/overlay.h"
#include "container/sentence.h"
#include "core/error.h"
#include "core/files.h"
#include "core/netlink.h"

namespace tare::container {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

/// A directory tree of small files, as a fake of /sys/fs/cgroup and /proc.
class Tree : public ::testing::Test {
 protected:
  fs::path file(const std::string& path, const std::string& content) {
    const fs::path full = root.path() / path;
    fs::create_directories(full.parent_path());
    std::ofstream(full) << content;
    return full;
  }
  std::string at(const std::string& path) const { return (root.path() / path).string(); }
  TempDir root;
};

TEST_F(Tree, LayoutOfV1) {
  file("memory/memory.memsw.limit_in_bytes", "1");
  const CgroupLayout layout = cgroup_layout("cgroup " + at("cpu,cpuacct") + " cgroup rw,cpu,cpuacct 0 0\ncgroup " + at("memory") +
                                            " cgroup rw,memory 0 0\ncgroup /x/net_cls cgroup rw,net_cls 0 0\nproc /proc proc rw 0 0\n");
  EXPECT_EQ(layout.text(), "v1: cpu cpuacct memory");
  EXPECT_TRUE(layout.swap);
  EXPECT_EQ(layout.v1.at("cpu"), layout.v1.at("cpuacct"));
  EXPECT_EQ(layout.v1_mounts().size(), 2U);
}

TEST_F(Tree, LayoutOfV2) {
  file("cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
  const CgroupLayout layout = cgroup_layout("cgroup2 " + at("") + " cgroup2 rw 0 0\n");
  EXPECT_EQ(layout.text(), "v2: cpu cpuset hugetlb io memory pids");
  EXPECT_TRUE(layout.is_v2());
  EXPECT_THAT(layout.accounting(), ElementsAre("cpu", "io", "memory", "pids"));
}

TEST_F(Tree, LayoutOfTheHybrid) {
  file("unified/cgroup.controllers", "hugetlb\n");
  const CgroupLayout layout = cgroup_layout("cgroup2 " + at("unified") + " cgroup2 rw 0 0\ncgroup " + at("pids") + " cgroup rw,pids 0 0\n");
  EXPECT_EQ(layout.text(), "hybrid: pids, v2 hugetlb");
  EXPECT_TRUE(layout.is_hybrid());
  EXPECT_TRUE(layout.has("pids"));
  EXPECT_FALSE(layout.has("memory"));
  EXPECT_TRUE(layout.on_v2("hugetlb"));
  EXPECT_FALSE(layout.on_v2("pids"));
  EXPECT_THAT(layout.accounting(), ElementsAre("pids"));
}

TEST_F(Tree, LayoutKnowsWhichCpusAndNodesThereAre) {
  file("cpuset/cpuset.cpus", "0-3\n");
  file("cpuset/cpuset.mems", "0\n");
  const CgroupLayout v1 = cgroup_layout("cgroup " + at("cpuset") + " cgroup rw,cpuset 0 0\n");
  EXPECT_EQ(v1.cpus, "0-3");
  EXPECT_EQ(v1.memory_nodes, "0");
  EXPECT_THAT(v1.accounting(), IsEmpty());
  file("two/cgroup.controllers", "cpuset\n");
  file("two/cpuset.cpus.effective", "0-1,3\n");
  file("two/cpuset.mems.effective", "0-1\n");
  const CgroupLayout v2 = cgroup_layout("cgroup2 " + at("two") + " cgroup2 rw 0 0\n");
  EXPECT_EQ(v2.cpus, "0-1,3");
  EXPECT_EQ(v2.memory_nodes, "0-1");
}

TEST_F(Tree, OnlyTheIoWeightFilesThatExistAreWritten) {
  file("tare/io.bfq.weight", "default 100\n");
  EXPECT_THAT(io_weight_files(at("tare")), ElementsAre("io.bfq.weight"));
  EXPECT_THAT(io_weight_files(at("none")), IsEmpty());
}

TEST_F(Tree, UsageOfV1) {
  file("cpuacct/cpuacct.usage", "1234567\n");
  file("cpuacct/cpuacct.usage_user", "1000000\n");
  file("cpuacct/cpuacct.usage_sys", "234567\n");
  file("memory/memory.usage_in_bytes", "4096\n");
  file("memory/memory.max_usage_in_bytes", "8192\n");
  file("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
  file("blkio/blkio.throttle.io_service_bytes", "8:0 Read 100\n8:0 Write 200\n8:16 Read 1\n8:16 Write 2\nTotal 303\n");
  file("blkio/blkio.throttle.io_serviced", "8:0 Read 5\n8:0 Write 6\nTotal 11\n");
  file("pids/pids.current", "3\n");
  CgroupPaths paths;
  for (const char* name : {"cpuacct", "memory", "blkio", "pids"}) paths.v1[name] = at(name);
  file("memory/cgroup.procs", "12\n");
  file("proc/12/io", "rchar: 9\nwchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n");
  paths.proc = at("proc");
  const Usage usage = cgroup_usage(paths);
  EXPECT_EQ(usage.cpu, std::chrono::nanoseconds(1234567));
  EXPECT_EQ(usage.cpu_user, std::chrono::nanoseconds(1000000));
  EXPECT_EQ(usage.cpu_system, std::chrono::nanoseconds(234567));
  EXPECT_EQ(usage.memory, Bytes{4096});
  EXPECT_EQ(usage.memory_peak, Bytes{8192});
  EXPECT_EQ(usage.io_read, Bytes{101});
  EXPECT_EQ(usage.io_write, Bytes{8192});
  EXPECT_EQ(usage.io_reads, 5U);
  EXPECT_FALSE(usage.io_writes.has_value());
  EXPECT_EQ(usage.processes, 3U);
  EXPECT_EQ(usage.oom_kills, 2U);
}

TEST_F(Tree, ReadsThatV1DoesNotCountAreTheProcessesOwn) {
  file("blkio/blkio.throttle.io_service_bytes", "Total 0\n");
  file("blkio/blkio.throttle.io_serviced", "Total 0\n");
  CgroupPaths paths;
  paths.v1["blkio"] = at("blkio");
  paths.proc = at("proc");
  EXPECT_FALSE(cgroup_usage(paths).io_read);
  file("blkio/cgroup.procs", "12\n");
  file("proc/12/io", "rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\n");
  const Usage usage = cgroup_usage(paths);
  EXPECT_EQ(usage.io_read, Bytes{4096});
  EXPECT_EQ(usage.io_write, Bytes{8192});
  EXPECT_FALSE(usage.io_reads);
}

TEST_F(Tree, UsageOfV2WithItsProcesses) {
  file("g/cpu.stat", "usage_usec 70\nuser_usec 40\nsystem_usec 30\nnr_periods 0\n");
  file("g/memory.current", "4096\n");
  file("g/memory.peak", "8192\n");
  file("g/memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\n");
  file("g/io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=3 wios=4\n");
  file("g/pids.current", "2\n");
  file("g/cgroup.procs", "12\n10\n");
  file("proc/10/smaps_rollup", "0-1 ---p 0 [rollup]\nRss:  99 kB\nPss:                   8 kB\nPss_Dirty: 3 kB\n");
  file("proc/12/smaps_rollup", "0-1 ---p 0 [rollup]\nPss:                   2 kB\n");
  file("proc/10/task/10/status", "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t1\n");
  file("proc/10/task/11/status", "Name:\tx\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t0\n");
  CgroupPaths paths;
  paths.unified = at("g");
  paths.proc = at("proc");
  EXPECT_THAT(cgroup_processes(paths), ElementsAre(10, 12));
  const Usage usage = cgroup_usage(paths);
  EXPECT_EQ(usage.cpu, std::chrono::microseconds(70));
  EXPECT_EQ(usage.memory_peak, Bytes{8192});
  EXPECT_EQ(usage.io_read, Bytes{11});
  EXPECT_EQ(usage.io_writes, 6U);
  EXPECT_EQ(usage.oom_kills, 1U);
  EXPECT_EQ(usage.memory_pss, 10_KiB);
  EXPECT_EQ(usage.switches_voluntary, 10U);
  EXPECT_EQ(usage.switches_involuntary, 1U);
}

TEST_F(Tree, WhatIsMissingIsAbsentAndNotZero) {
  file("g/cgroup.procs", "");
  CgroupPaths paths;
  paths.unified = at("g");
  const Usage usage = cgroup_usage(paths);
  EXPECT_FALSE(usage.cpu || usage.memory || usage.memory_peak || usage.memory_pss || usage.io_read || usage.processes || usage.oom_kills ||
               usage.switches_voluntary);
}

TEST_F(Tree, HybridProcessesAreTheUnionOfItsHierarchies) {
  file("unified/cgroup.procs", "5\n7\n");
  file("pids/cgroup.procs", "7\n9\n0\n");
  CgroupPaths paths;
  paths.unified = at("unified");
  paths.v1["pids"] = at("pids");
  EXPECT_THAT(cgroup_processes(paths), ElementsAre(5, 7, 9));
}

TEST(Isolation, NoneIsOnlyTheMountNamespace) {
  EXPECT_EQ(Isolation::none().namespaces(), "mount");
  EXPECT_EQ(Isolation::none().protections().at("capabilities"), "all");
  EXPECT_THAT(Isolation::none().masked, IsEmpty());
}

TEST(Isolation, AContainerHasDockersCapabilities) {
  EXPECT_EQ(Isolation::container(Security::standard).protections().at("capabilities"),
            "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,audit_write,setfcap");
  EXPECT_THAT(Isolation::container(Security::standard).protections().at("seccomp"), ::testing::StartsWith("standard sha256:"));
  EXPECT_EQ(Isolation::none().protections().at("seccomp"), "none");
}

TEST(Isolation, StrictHasPodmansCapabilities) {
  EXPECT_EQ(Isolation::container(Security::strict).protections().at("capabilities"),
            "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,sys_chroot,setfcap");
  EXPECT_EQ(Isolation::container(Security::strict).seccomp, "standard");
}

TEST(Isolation, SecurityNoneKeepsNamespaces) {
  const Isolation isolation = Isolation::container(Security::none);
  EXPECT_EQ(isolation.namespaces(), "mount,pid,ipc,uts,net,cgroup,time");
  EXPECT_EQ(isolation.capabilities, all_capabilities());
  EXPECT_FALSE(isolation.no_new_privileges);
  EXPECT_EQ(isolation.protections().at("devices"), "all");
}

TEST(Isolation, OnlyAProtectedContainerHasADeviceList) {
  EXPECT_EQ(Isolation::container(Security::standard).protections().at("devices"), "default list");
  EXPECT_EQ(Isolation::none().protections().at("devices"), "all");
}

TEST(Isolation, SharesWhatTheWorkloadAsksFor) {
  Isolation isolation = Isolation::container(Security::standard);
  isolation.share({Namespace::pid, Namespace::net, Namespace::time});
  EXPECT_EQ(isolation.namespaces(), "mount,ipc,uts,cgroup");
  EXPECT_EQ(isolation.protections().at("namespaces"), "mount,ipc,uts,cgroup");
  isolation.share({Namespace::ipc, Namespace::uts, Namespace::cgroup});
  EXPECT_EQ(isolation.namespaces(), "mount");
}

TEST(Isolation, NamesTheIdsOfAUserNamespace) {
  Isolation isolation = Isolation::container(Security::standard);
  EXPECT_EQ(isolation.protections().at("user_namespace"), "host");
  isolation.first_id = 0x70000000;
  EXPECT_EQ(isolation.protections().at("user_namespace"), "0 → 1879048192 (65536)");
  EXPECT_EQ(isolation.namespaces(), "mount,pid,ipc,uts,net,cgroup,time,user");
}

TEST(Overlay, RefusesWhatItsOptionsCannotSay) {
  EXPECT_THROW(mount_overlay({{"/a:b"}, "/i", false}, "x"), Error);
  EXPECT_THROW(mount_overlay({{"/a"}, "/i,upperdir=/etc", false}, "x"), Error);
}

TEST(Sentence, NamesWhoAndStepAndCause) {
  const Error error = error_of({1, "mount overlay", ENODEV, ""}, "container 'serve'");
  EXPECT_EQ(error.sentence(), "container 'serve': mount overlay: No such device");
  EXPECT_THAT(error.hint(), HasSubstr("modprobe overlay"));
}

TEST(Sentence, NamesTheObjectOfTheStep) {
  const Error error = error_of({1, "execute", ENOENT, "/bin/x"}, "metal 'a'");
  EXPECT_EQ(error.sentence(), "metal 'a': execute /bin/x: No such file or directory");
  EXPECT_EQ(error.code(), Code::not_found);
}

TEST(InterfaceName, FitsTheKernelAndIsReadableAsOurs) {
  const std::string name = netlink::interface_name("t0123456789ab", 'h');
  EXPECT_EQ(name, "tare0123456789h");
  EXPECT_LE(name.size(), 15U);
  EXPECT_NE(netlink::interface_name("t0123456789ab", 'v'), name);
}

}  // namespace
}  // namespace tare::container
