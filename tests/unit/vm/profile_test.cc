// SPDX-License-Identifier: Apache-2.0
// What each profile makes of a plan on a host that has all, and on one that has nothing.
#include "vm/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/files.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

VmPlan plan(Accelerator accelerator) {
  VmPlan plan;
  plan.name = "t0123456789ab";
  plan.accelerator = accelerator;
  plan.kernel = "/state/guest/vmlinux";
  plan.initramfs = "/state/guest/initramfs.cpio";
  if (accelerator == Accelerator::tcg) plan.tsc_khz = 2'596'128;
  plan.vcpus = 2;
  plan.image = {"/state/images/x/rootfs.erofs", true};
  plan.scratch = {"/state/instances/t0123456789ab/disk.img", false};
  plan.channel = "/state/instances/t0123456789ab/channel";
  plan.console = "/state/instances/t0123456789ab/console";
  return plan;
}

// Two nodes of two CPUs.
HostOffer rich() {
  HostOffer offer;
  offer.cpus = {{0, 0}, {1, 1}, {2, 0}, {3, 1}};
  offer.hugepage_size = 2_MiB;
  offer.hugepages_free = 1_GiB;
  offer.slim_emulator = "/usr/bin/qemu-system-x86_64-microvm";
  return offer;
}

HostOffer poor() {
  HostOffer offer;
  offer.cpus = {{0, 0}};
  offer.no_io_uring = "io_uring_setup: Operation not permitted";
  offer.no_direct_io = "open a file in /state with O_DIRECT: Invalid argument";
  return offer;
}

VmPlan shaped(VmProfile profile, Accelerator accelerator, const HostOffer& offer, const Limits& limits = {}) {
  VmPlan out = plan(accelerator);
  shape(out, profile, limits, offer);
  return out;
}

std::vector<std::string> lacks(const VmPlan& plan) {
  std::vector<std::string> names;
  for (const Trait& trait : missing(plan.traits)) names.push_back(trait.name.substr(trait.name.find(' ') + 1));
  return names;
}

std::string golden(const std::string& name) { return read_file(std::string(TARE_SOURCE_DIR) + "/tests/unit/vm/golden/" + name); }

TEST(Profile, DefaultIsTheKnownDocument) {
  EXPECT_EQ(domain_xml(shaped(VmProfile::standard, Accelerator::tcg, rich())), golden("domain-default.xml"));
}

TEST(Profile, MinimalIsTheKnownDocument) {
  EXPECT_EQ(domain_xml(shaped(VmProfile::minimal, Accelerator::kvm, rich())), golden("domain-minimal.xml"));
  EXPECT_EQ(domain_xml(shaped(VmProfile::minimal, Accelerator::tcg, rich())), golden("domain-minimal-tcg.xml"));
}

TEST(Profile, MatchedIsTheKnownDocument) {
  Limits limits;
  limits.cpuset = "1,3";
  EXPECT_EQ(domain_xml(shaped(VmProfile::matched, Accelerator::kvm, rich(), limits)), golden("domain-matched.xml"));
}

TEST(Profile, TunedIsTheKnownDocument) {
  EXPECT_EQ(domain_xml(shaped(VmProfile::tuned, Accelerator::kvm, rich())), golden("domain-tuned.xml"));
  EXPECT_EQ(domain_xml(shaped(VmProfile::tuned, Accelerator::tcg, poor())), golden("domain-tuned-poor-host.xml"));
}

TEST(Profile, WhatTheHostCannotGiveIsNamed) {
  EXPECT_THAT(lacks(shaped(VmProfile::tuned, Accelerator::kvm, rich())), ElementsAre());
  EXPECT_THAT(lacks(shaped(VmProfile::tuned, Accelerator::tcg, poor())),
              ElementsAre("cpu", "pinning", "hugepages", "disk cache", "disk io"));
  EXPECT_THAT(lacks(shaped(VmProfile::minimal, Accelerator::tcg, rich())), ElementsAre("emulator"));
  EXPECT_THAT(lacks(shaped(VmProfile::matched, Accelerator::kvm, rich())), ElementsAre("memory node"));  // its CPUs are on both
}

TEST(Profile, HugepagesThatDoNotSufficeAreToldWithTheRemedy) {
  HostOffer offer = rich();
  offer.hugepages_free = 254_MiB;
  const VmPlan with = shaped(VmProfile::tuned, Accelerator::kvm, offer);
  EXPECT_FALSE(with.hugepages);
  EXPECT_EQ(description(with.traits).at("profile hugepages"),
            "none: 256 MiB are needed and 254 MiB are free on this host (sysctl -w vm.nr_hugepages=128 (or more))");
}

TEST(Profile, DefaultHasNothingToSay) {
  const VmPlan with = shaped(VmProfile::standard, Accelerator::tcg, poor());
  EXPECT_TRUE(with.traits.empty());
  EXPECT_EQ(with.profile, VmProfile::standard);
}

TEST(TunedProfile, PinsToTheLeastBusyCpusOfOneNode) {
  VmPlan with = plan(Accelerator::kvm);
  shape(with, VmProfile::tuned, {}, rich(), {1, 0, 1, 0});
  EXPECT_THAT(with.vcpu_pins, ElementsAre("1", "3"));
  EXPECT_EQ(with.memory_node, 1U);
  EXPECT_EQ(with.helper_cpus, "0,2");
}

TEST(TunedProfile, PinsWithinTheWorkloadsCpuset) {
  Limits limits;
  limits.cpuset = "2-3";
  const VmPlan with = shaped(VmProfile::tuned, Accelerator::kvm, rich(), limits);
  EXPECT_THAT(with.vcpu_pins, ElementsAre("2", "3"));
  EXPECT_EQ(with.helper_cpus, "2,3");  // no CPU is left for them alone
  EXPECT_FALSE(with.memory_node);
  EXPECT_THAT(lacks(with), ElementsAre("memory node"));
}

TEST(TunedProfile, LeavesTheMemoryToTheWorkloadsOwnChoice) {
  Limits limits;
  limits.memory_nodes = "1";
  EXPECT_FALSE(shaped(VmProfile::tuned, Accelerator::kvm, rich(), limits).memory_node);
}

TEST(MatchedProfile, HasAsManyCpusAsTheWorkloadMayRunOn) {
  Limits limits;
  EXPECT_EQ(shaped(VmProfile::matched, Accelerator::kvm, rich(), limits).vcpus, 4U);
  limits.cpuset = "0-2";
  EXPECT_EQ(shaped(VmProfile::matched, Accelerator::kvm, rich(), limits).vcpus, 3U);
  limits.cpus = 1.5;
  VmPlan with = plan(Accelerator::kvm);
  with.vcpus = vcpus_for(limits);
  shape(with, VmProfile::matched, limits, rich());
  EXPECT_EQ(with.vcpus, 2U);
}

// MemTotal of the stock 6.1 cloud kernel by RAM, as it was read in guests, less what a q35 keeps.
TEST(MatchedProfile, GivesTheRamThatLeavesTheUsableMemory) {
  EXPECT_EQ(ram_for_usable(Bytes{62'164 << 10}, 1), 97_MiB);
  EXPECT_EQ(ram_for_usable(Bytes{223'300 << 10}, 2), 256_MiB);
  EXPECT_EQ(ram_for_usable(Bytes{481'000 << 10}, 1), 512_MiB);
  EXPECT_EQ(ram_for_usable(Bytes{996'500 << 10}, 1), 1024_MiB);
  EXPECT_EQ(ram_for_usable(Bytes{2'027'000ULL << 10}, 1), 2048_MiB);
}

TEST(HostOfferOf, ReadsWhatTheKernelSays) {
  const TempDir root;
  const auto put = [&](const std::string& path, const std::string& text) {
    fs::create_directories((root.path() / path).parent_path());
    write_file_atomic(root.path() / path, text);
  };
  put("proc/self/status", "Name:\ttare\nCpus_allowed:\t7\nCpus_allowed_list:\t0-2\nMems_allowed:\t1\n");
  put("sys/devices/system/node/online", "0-1\n");
  put("sys/devices/system/node/node0/cpulist", "0,2\n");
  put("sys/devices/system/node/node1/cpulist", "1,3\n");
  put("proc/meminfo", "MemTotal:  1 kB\nHugepagesize:       2048 kB\n");
  put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "12\n");
  EXPECT_EQ(host_offer(root.path(), root.path()).hugepage_size, Bytes{0});  // libvirt finds no hugetlbfs
  put("proc/self/mounts", "hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n");
  const HostOffer offer = host_offer(root.path(), root.path());
  ASSERT_EQ(offer.cpus.size(), 3U);
  EXPECT_EQ(offer.cpus[1].number, 1U);
  EXPECT_EQ(offer.cpus[1].node, 1U);
  EXPECT_EQ(offer.cpus[2].node, 0U);
  EXPECT_EQ(offer.hugepages_free, 24_MiB);
  EXPECT_TRUE(offer.slim_emulator.empty());
  put("usr/bin/qemu-system-x86_64-microvm", "");
  EXPECT_EQ(host_offer(root.path(), root.path()).slim_emulator, root.path() / "usr/bin/qemu-system-x86_64-microvm");
}

TEST(HostOfferOf, SaysWhyThereIsNoDirectIo) {
  EXPECT_THAT(host_offer("/proc/self").no_direct_io, HasSubstr("open a file in /proc/self with O_DIRECT: "));
}

}  // namespace
}  // namespace tare::vm
