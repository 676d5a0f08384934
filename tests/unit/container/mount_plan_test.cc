// SPDX-License-Identifier: Apache-2.0
#include "container/mount_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include "container/sentence.h"

namespace tare::container {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string text_of(std::uint64_t flags) {
  struct Row {
    std::uint64_t flag;
    const char* word;
  };
  constexpr Row kRows[] = {{MS_RDONLY, "ro"},     {MS_NOSUID, "nosuid"},           {MS_NODEV, "nodev"},
                           {MS_NOEXEC, "noexec"}, {MS_STRICTATIME, "strictatime"}, {MS_BIND, "rbind"}};
  std::string text;
  for (const Row& row : kRows) {
    if ((flags & row.flag) != 0) text += std::string(text.empty() ? "" : ",") + row.word;
  }
  return text;
}

/// One line a step, as the mount table would have it.
std::string text_of(const std::vector<MountStep>& steps) {
  std::string text;
  for (const MountStep& step : steps) {
    text += step.target + " " + (step.type.empty() ? "host:" + step.source : step.type + ":" + step.source) + " " + text_of(step.flags);
    if (!step.options.empty()) text += " " + step.options;
    text += step.tree ? " tree\n" : "\n";
  }
  return text;
}

TEST(MountPlan, OfAContainerIsDockers) {
  const MountPlan plan = mount_plan(Isolation::container(Security::standard), {}, {}, "/volumes");
  EXPECT_EQ(text_of(plan.views),
            "/proc proc:proc nosuid,nodev,noexec\n"
            "/sys sysfs:sysfs ro,nosuid,nodev,noexec\n"
            "/dev tmpfs:tmpfs nosuid,strictatime mode=755,size=65536k\n"
            "/dev/pts devpts:devpts nosuid,noexec newinstance,ptmxmode=0666,mode=0620,gid=5\n"
            "/dev/shm tmpfs:shm nosuid,nodev,noexec mode=1777,size=65536k\n"
            "/dev/mqueue mqueue:mqueue nosuid,nodev,noexec\n");
  std::string devices;
  for (const DeviceNode& device : plan.devices) {
    devices += device.path + " " + std::to_string(device.major) + ":" + std::to_string(device.minor) + "\n";
  }
  EXPECT_EQ(devices, "/dev/null 1:3\n/dev/zero 1:5\n/dev/full 1:7\n/dev/random 1:8\n/dev/urandom 1:9\n/dev/tty 5:0\n");
  EXPECT_TRUE(plan.device_links);
  EXPECT_THAT(plan.mounts, IsEmpty());
  EXPECT_FALSE(plan.read_only_root);
}

TEST(MountPlan, WithItsOwnIdsADevComesFromTheAgentWhichMayMakeDevices) {
  Isolation isolation = Isolation::container(Security::standard);
  const MountPlan without = mount_plan(isolation, {}, {}, "/volumes");
  isolation.first_id = 0x70000000;
  const MountPlan plan = mount_plan(isolation, {}, {}, "/volumes");
  EXPECT_THAT(text_of(plan.views), HasSubstr("/dev tmpfs:tmpfs nosuid,strictatime mode=755,size=65536k tree\n/dev/pts devpts"));
  EXPECT_EQ(plan.devices, without.devices);
}

TEST(MountPlan, OfMetalIsTheHostsViews) {
  const MountPlan plan = mount_plan(Isolation::none(), {}, {}, "/volumes");
  EXPECT_EQ(text_of(plan.views), "/proc host:/proc rbind tree\n/sys host:/sys rbind tree\n/dev host:/dev rbind tree\n");
  EXPECT_THAT(plan.devices, IsEmpty());
  EXPECT_FALSE(plan.device_links);
}

Workload with(std::vector<Mount> mounts) {
  Workload workload;
  workload.mounts = std::move(mounts);
  return workload;
}

TEST(MountPlan, AWorkloadsMountsLieOverTheImageParentsFirst) {
  const MountPlan plan = mount_plan(Isolation::container(Security::standard),
                                    with({{Mount::Type::tmpfs, "", "/data/a/b", false, 1_MiB},
                                          {Mount::Type::volume, "db", "/data", false, {}},
                                          {Mount::Type::bind, "/srv/x", "/data/a", true, {}}}),
                                    {}, "/state/volumes");
  EXPECT_EQ(text_of(plan.mounts),
            "/data host:/state/volumes/db nosuid,nodev,rbind tree\n"
            "/data/a host:/srv/x ro,nodev,rbind tree\n"
            "/data/a/b tmpfs:tmpfs nosuid,nodev,noexec mode=1777,size=1048576\n");
}

TEST(MountPlan, AMountReplacesTheViewInItsPlace) {
  const MountPlan plan =
      mount_plan(Isolation::container(Security::standard), with({{Mount::Type::tmpfs, "", "/dev/shm", false, 1_GiB}}), {}, "");
  EXPECT_THAT(text_of(plan.views), ::testing::Not(HasSubstr("/dev/shm")));
  EXPECT_THAT(text_of(plan.mounts), HasSubstr("/dev/shm tmpfs:tmpfs nosuid,nodev,noexec mode=1777,size=1073741824"));
}

TEST(MountPlan, ADeviceIsMadeOnceAndNotForMetal) {
  const std::vector<DeviceNode> devices = {{"/dev/null", 020600, 1, 3, 0, 0}, {"/dev/fuse", 020666, 10, 229, 0, 0}};
  const MountPlan plan = mount_plan(Isolation::container(Security::standard), {}, devices, "");
  EXPECT_EQ(plan.devices.size(), 7U);
  EXPECT_EQ(plan.devices.back(), devices[1]);
  EXPECT_THAT(mount_plan(Isolation::none(), {}, devices, "").devices, IsEmpty());
}

TEST(MountPlan, ALinkInAMountsPlaceIsSaidToBeOne) {
  EXPECT_THAT(error_of({1, "mount", ELOOP, "/proc"}, "x").what(), HasSubstr("x: mount /proc: "));
  EXPECT_THAT(error_of({1, "mount", ELOOP, "/proc"}, "x").hint(), HasSubstr("symbolic link"));
}

}  // namespace
}  // namespace tare::container
