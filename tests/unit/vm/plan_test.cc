// SPDX-License-Identifier: Apache-2.0
#include "vm/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "core/error.h"
#include "core/files.h"
#include "vm/jail.h"
#include "vm/xml.h"

namespace tare::vm {
namespace {

using testing::HasSubstr;
using testing::Not;

VmPlan plan() {
  VmPlan plan;
  plan.name = "t0123456789ab";
  plan.kernel = "/state/guest/vmlinux";
  plan.initramfs = "/state/guest/initramfs.cpio";
  plan.tsc_khz = 2'596'128;
  plan.vcpus = 2;
  plan.image = {"/state/images/x/rootfs.erofs", true, "writeback"};
  plan.scratch = {"/state/instances/t0123456789ab/disk.img", false, "writeback"};
  plan.channel = "/state/instances/t0123456789ab/channel";
  plan.console = "/state/instances/t0123456789ab/console";
  plan.environment = {{"TARE_TASKS", "/sys/fs/cgroup/cpu/tare/t0123456789ab/tasks"}};
  return plan;
}

std::string golden(const std::string& name) { return read_file(std::string(TARE_SOURCE_DIR) + "/tests/unit/vm/golden/" + name); }

TEST(DomainXml, IsTheKnownDocumentForAnEmulatedMicrovm) { EXPECT_EQ(domain_xml(plan()), golden("microvm-tcg.xml")); }

TEST(DomainXml, IsTheKnownDocumentForKvmOnQ35WithALink) {
  VmPlan with = plan();
  with.accelerator = Accelerator::kvm;
  with.machine = Machine::q35;
  with.interface = Interface{"tare4f9c2a71bt", "52:54:00:67:89:ab"};
  EXPECT_EQ(domain_xml(with), golden("q35-kvm-link.xml"));
}

TEST(DomainXml, IsTheKnownDocumentWithShares) {
  VmPlan with = plan();
  with.shares = {"/state/instances/t0123456789ab/share-0", "/state/instances/t0123456789ab/share-1"};
  EXPECT_EQ(domain_xml(with), golden("microvm-shares.xml"));
}

TEST(Jail, HasTheFilesOfTheMachineAndNothingElse) {
  VmPlan with = plan();
  with.user = 0x70010000;
  with.stage = "/state/root";
  const std::string disks =
      ":r/state/guest/vmlinux:r/state/guest/initramfs.cpio:r/state/images/x/rootfs.erofs:w/state/instances/t0123456789ab/disk.img";
  EXPECT_EQ(jail_text(with), "1879113728:/state/root" + disks);
  EXPECT_THAT(domain_xml(with), HasSubstr("<qemu:env name='TARE_JAIL' value='1879113728:/state/root:r/state/guest/vmlinux"));
  with.memory_file = MemoryFile{"/state/instances/t1/memory", true};
  with.shares = {"/state/instances/t0123456789ab/share-0"};
  with.accelerator = Accelerator::kvm;
  EXPECT_EQ(jail_text(with),
            "1879113728:/state/root" + disks + ":w/state/instances/t1/memory:w/state/instances/t0123456789ab/share-0:d/dev/kvm");
}

TEST(Jail, IsNotMadeWithAPathThatWouldBeTwo) {
  VmPlan with = plan();
  with.user = 0x70010000;
  with.stage = "/state/root";
  with.scratch.file = "/state:w/etc/disk.img";
  try {
    jail_text(with);
    FAIL() << "it was";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unsuited);
    EXPECT_THAT(error.sentence(), HasSubstr("/state:w/etc/disk.img"));
  }
}

TEST(DomainXml, NoNameOrPathCanChangeTheDocument) {
  VmPlan hostile = plan();
  hostile.name = "a<b>&'\"";
  hostile.scratch.file = "/x' readonly='y\n";
  const std::string xml = domain_xml(hostile);
  EXPECT_THAT(xml, HasSubstr("<name>a&lt;b&gt;&amp;&apos;&quot;</name>"));
  EXPECT_THAT(xml, HasSubstr("file='/x&apos; readonly=&apos;y&#10;'"));
}

TEST(DomainXml, AMachineThatIsToBeFrozenSharesItsMemoryAndACloneKeepsItsOwn) {
  VmPlan with = plan();
  with.accelerator = Accelerator::kvm;
  with.memory_file = MemoryFile{"/state,1/memory", false};
  EXPECT_THAT(domain_xml(with), HasSubstr("memory-backend-file,id=tare.memory,size=256M,mem-path=/state,,1/memory,share=on"));
  EXPECT_THAT(domain_xml(with), HasSubstr("migratable='on'"));
  EXPECT_THAT(domain_xml(with), Not(HasSubstr("-incoming")));
  with.memory_file->clone = true;
  EXPECT_THAT(domain_xml(with), HasSubstr("mem-path=/state,,1/memory,share=off"));
  EXPECT_THAT(domain_xml(with), HasSubstr("<qemu:arg value='-incoming'/>"));
}

TEST(DomainXml, AMicrovmHasNoPciAddress) {
  VmPlan with = plan();
  with.interface = Interface{"tare0", "52:54:00:67:89:ab"};
  EXPECT_THAT(domain_xml(with), Not(HasSubstr("pci")));
}

TEST(Xml, LeavesOutCharactersThatXmlCannotHold) { EXPECT_EQ(escaped(std::string("a\0\x01z", 4)), "az"); }

TEST(CommandLine, EveryWordSaysWhyItIsThere) {
  for (const KernelWord& entry : kernel_words(plan())) {
    EXPECT_FALSE(entry.why.empty()) << entry.word;
    EXPECT_EQ(entry.word.find(' '), std::string::npos) << entry.word;
  }
}

TEST(CommandLine, TellsAnEmulatedGuestTheClockInsteadOfLettingItCalibrate) {
  EXPECT_THAT(command_line(plan()), HasSubstr("no_timer_check tsc_early_khz=2596128 tsc=reliable"));
}

TEST(CommandLine, LeavesTheClockToKvm) {
  VmPlan with = plan();
  with.accelerator = Accelerator::kvm;
  EXPECT_THAT(command_line(with), Not(HasSubstr("tsc")));
  EXPECT_THAT(command_line(with), HasSubstr("cryptomgr.notests=1"));
}

TEST(VirtualCpus, AreTheCpuLimitRoundedUp) {
  Limits limits;
  EXPECT_EQ(vcpus_for(limits), 1U);
  limits.cpus = 0.5;
  EXPECT_EQ(vcpus_for(limits), 1U);
  limits.cpus = 1.5;
  EXPECT_EQ(vcpus_for(limits), 2U);
  limits.cpus = 4;
  EXPECT_EQ(vcpus_for(limits), 4U);
}

TEST(GuestMemory, IsTheMemoryLimitInWholeMebibytes) {
  Limits limits;
  EXPECT_EQ(memory_for(limits), kDefaultMemory);
  limits.memory = Bytes{(128ULL << 20) + 5};
  EXPECT_EQ(memory_for(limits), 128_MiB);
}

TEST(GuestMemory, BelowTheLeastIsRefusedWithTheLeast) {
  Limits limits;
  limits.memory = 32_MiB;
  try {
    memory_for(limits);
    FAIL() << "32 MiB were accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::invalid);
    EXPECT_THAT(error.sentence(), HasSubstr("needs " + text_of(kLeastMemory)));
  }
}

TEST(GuestRefuses, ByNameWhatItCannotDoYet) {
  const auto sentence = [](const Workload& workload) {
    try {
      refuse_what_is_missing(workload);
      return std::string();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::unsuited);
      return error.sentence();
    }
  };
  Workload workload;
  workload.name = "w";
  EXPECT_EQ(sentence(workload), "");
  workload.start = Start::zygote;
  EXPECT_THAT(sentence(workload), HasSubstr("vm 'w' has no start: zygote"));
  workload.start = Start::cold;
  workload.host_namespaces = {Namespace::pid};
  EXPECT_THAT(sentence(workload), HasSubstr("vm 'w' cannot share the host's pid namespace"));
  workload.host_namespaces.clear();
  workload.userns = Userns::automatic;
  EXPECT_THAT(sentence(workload), HasSubstr("vm 'w' cannot have `userns: auto`"));
  workload.userns = Userns::host;
  workload.devices = {"/dev/fuse"};
  EXPECT_THAT(sentence(workload), HasSubstr("vm 'w' cannot have /dev/fuse"));
  workload.devices.clear();
  workload.tty = workload.open_stdin = true;
  workload.init = true;  // every guest has one
  EXPECT_EQ(sentence(workload), "");
  workload.mounts = {{Mount::Type::volume, "db", "/data", false, {}}};
  workload.read_only_root = true;
  EXPECT_EQ(sentence(workload), "");
  workload.start = Start::parked;
  EXPECT_THAT(sentence(workload), HasSubstr("vm 'w' has no start: parked with the volume /data: what serves it cannot be frozen"));
  workload.mounts = {{Mount::Type::tmpfs, "", "/data", false, {}}};
  EXPECT_EQ(sentence(workload), "");
}

std::string refusal(const Limits& change, bool at_start = false) {
  try {
    at_start ? host_limits(change, "vm 'w'") : host_change(change, 2, "vm 'w'");
    return "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unsuited);
    EXPECT_FALSE(error.hint().empty());
    return error.sentence();
  }
}

TEST(HostLimits, AreThoseThatTheGuestIsNotMadeOf) {
  Limits limits;
  limits.cpus = 1.5;
  limits.memory = 128_MiB;
  limits.pids = 5;
  limits.cpu_weight = 7;
  limits.cpuset = "0";
  limits.memory_nodes = "0";
  limits.io_weight = 8;
  limits.io = {{"/dev/vda", 1_MiB, {}, {}, {}}};
  limits.swap = Bytes{0};  // none, as a guest has
  Limits host = limits;
  host.cpus.reset();
  host.memory.reset();
  host.pids.reset();
  host.swap.reset();
  EXPECT_EQ(host_limits(limits, "vm 'w'"), host);
}

TEST(HostLimits, WhatAGuestDoesNotHaveIsRefused) {
  Limits limits;
  limits.swap = 1_MiB;
  EXPECT_EQ(refusal(limits, true), "vm 'w': limits.swap is not for a VM: its guest has no swap");
  limits = {};
  limits.memory_high = 64_MiB;
  EXPECT_THAT(refusal(limits, true), HasSubstr("vm 'w': limits.memory_high"));
  limits = {};
  limits.hugepages = {{2_MiB, 2_MiB}};
  EXPECT_THAT(refusal(limits, true), HasSubstr("vm 'w': limits.hugepages"));
}

TEST(HostChange, MakesCpusAQuotaUpToTheVirtualCpus) {
  Limits change;
  change.cpus = 0.5;
  change.cpuset = "1";
  EXPECT_EQ(host_change(change, 2, "vm 'w'"), change);
  change.cpus = 2.5;
  EXPECT_EQ(refusal(change), "vm 'w': limits.cpus cannot change while it runs: its guest has 2 virtual CPUs");
}

TEST(HostChange, WhatTheGuestWasStartedWithIsFixed) {
  Limits change;
  change.memory = 128_MiB;
  EXPECT_EQ(refusal(change), "vm 'w': limits.memory cannot change while it runs: it is the RAM that its guest was started with");
  change = {};
  change.pids = 5;
  EXPECT_THAT(refusal(change), HasSubstr("vm 'w': limits.pids cannot change"));
}

TEST(MacAddress, IsLocallyAdministeredAndDiffersByInstance) {
  EXPECT_EQ(mac_address("t0123456789ab"), "52:54:00:67:89:ab");
  EXPECT_NE(mac_address("t0123456789ab"), mac_address("t0123456789ac"));
}

}  // namespace
}  // namespace tare::vm
