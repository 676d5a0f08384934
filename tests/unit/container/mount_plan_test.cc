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
  const MountPlan plan = mount_plan(Isolation::container(Security::standard));
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

TEST(MountPlan, OfMetalIsTheHostsViews) {
  const MountPlan plan = mount_plan(Isolation::none());
  EXPECT_EQ(text_of(plan.views), "/proc host:/proc rbind\n/sys host:/sys rbind\n/dev host:/dev rbind\n");
  EXPECT_THAT(plan.devices, IsEmpty());
  EXPECT_FALSE(plan.device_links);
}

TEST(MountPlan, ALinkInAMountsPlaceIsSaidToBeOne) {
  EXPECT_THAT(error_of({1, "mount", ELOOP, "/proc"}, "x").what(), HasSubstr("x: mount /proc: "));
  EXPECT_THAT(error_of({1, "mount", ELOOP, "/proc"}, "x").hint(), HasSubstr("symbolic link"));
}

}  // namespace
}  // namespace tare::container
