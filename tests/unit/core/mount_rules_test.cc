// SPDX-License-Identifier: Apache-2.0
#include "core/mount_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace tare {
namespace {

using ::testing::HasSubstr;

std::string fault_at(const std::string& target) { return fault_of(Mount{Mount::Type::tmpfs, "", target, false, {}}); }

TEST(MountRules, ATargetIsAPathThatStaysWhereItIs) {
  for (const char* good : {"/data", "/a/b/c", "/dev/shm", "/procfs", "/etc/hosts", "/..a"}) EXPECT_EQ(fault_at(good), "") << good;
  for (const char* bad :
       {"", "data", "/", "/a/../b", "/..", "/a//b", "/a/./b", "/a/", "/proc", "/proc/sys", "/sys/fs/cgroup", "/dev", "/dev/pts"})
    EXPECT_NE(fault_at(bad), "") << bad;
  EXPECT_NE(fault_at("/" + std::string(5000, 'x')), "");
  EXPECT_NE(fault_at(std::string("/a\0b", 4)), "");
}

TEST(MountRules, EachTypeHasItsOwnSource) {
  EXPECT_EQ(fault_of(Mount{Mount::Type::bind, "/srv", "/a", true, {}}), "");
  EXPECT_THAT(fault_of(Mount{Mount::Type::bind, "srv", "/a", false, {}}), HasSubstr("source 'srv' is not absolute"));
  EXPECT_EQ(fault_of(Mount{Mount::Type::volume, "db-1", "/a", false, {}}), "");
  for (const char* bad : {"", "..", "a/b", "/srv", ".hidden", "A"})
    EXPECT_THAT(fault_of(Mount{Mount::Type::volume, bad, "/a", false, {}}), HasSubstr("no name of a volume")) << bad;
  EXPECT_THAT(fault_of(Mount{Mount::Type::tmpfs, "x", "/a", false, {}}), HasSubstr("no source"));
  EXPECT_THAT(fault_of(Mount{Mount::Type::volume, "v", "/a", false, 1_MiB}), HasSubstr("only a tmpfs has a size"));
}

TEST(MountRules, ADeviceLiesInDevAndIsNotTheInstancesOwn) {
  EXPECT_EQ(fault_of_device("/dev/fuse"), "");
  EXPECT_EQ(fault_of_device("/dev/net/tun"), "");
  for (const char* bad : {"fuse", "/etc/passwd", "/dev", "/dev/../etc/passwd", "/dev/pts/0", "/dev/shm/x", "/dev/fd"})
    EXPECT_NE(fault_of_device(bad), "") << bad;
}

TEST(MountRules, TheFirstFaultIsNamedWithItsWorkload) {
  Workload workload;
  workload.name = "w";
  workload.mounts = {{Mount::Type::tmpfs, "", "/a", false, {}}, {Mount::Type::volume, "v", "/a", false, {}}};
  try {
    check_mounts(workload);
    FAIL() << "was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::invalid);
    EXPECT_EQ(error.sentence(), "workload 'w': two mounts have the target '/a'");
  }
  workload.mounts.pop_back();
  workload.devices = {"/dev/fuse", "/dev/fuse"};
  EXPECT_THROW(check_mounts(workload), Error);
  workload.devices.pop_back();
  EXPECT_NO_THROW(check_mounts(workload));
}

}  // namespace
}  // namespace tare
