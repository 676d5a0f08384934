// SPDX-License-Identifier: Apache-2.0
#include "guest/usage_text.h"

#include <gtest/gtest.h>

namespace tare::guest {
namespace {

TEST(UsageText, TimeThatRanAndTimeThatWasStolen) {
  const CpuTicks ticks = cpu_ticks("cpu  100 20 30 4000 50 6 7 80 9 1\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
  EXPECT_EQ(ticks.busy, 163U);  // not idle, iowait, steal; guest is in user
  EXPECT_EQ(ticks.steal, 80U);
}

TEST(UsageText, AKernelWithoutStealHasNone) { EXPECT_EQ(cpu_ticks("cpu 1 2 3 4 5 6 7\n").steal, 0U); }

TEST(UsageText, WholeVirtioDisksAreCountedOnce) {
  const Traffic disk = disk_traffic(
      " 254       0 vda 10 1 80 5 0 0 0 0 0 4 5 0 0 0 0 0 0\n"
      " 254      16 vdb 3 0 24 1 7 2 64 9 0 4 5 0 0 0 0 0 0\n"
      " 254      17 vdb1 3 0 24 1 7 2 64 9 0 4 5 0 0 0 0 0 0\n"
      "   7       0 loop0 99 0 99 1 99 2 99 9 0 4 5 0 0 0 0 0 0\n");
  EXPECT_EQ(disk, (Traffic{13, 7, 104 * 512, 64 * 512}));
}

TEST(UsageText, InterfacesAreCountedButLoopback) {
  const Traffic network = network_traffic(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
      "    lo:    9000      90    0    0    0     0          0         0     9000      90    0    0    0     0       0          0\n"
      "  eth0:12345678      10    0    0    0     0          0         0      700       7    0    0    0     0       0          0\n");
  EXPECT_EQ(network, (Traffic{10, 7, 12345678, 700}));
}

TEST(UsageText, WhatIsCutOffOrForeignIsNotCounted) {
  EXPECT_EQ(disk_traffic(""), Traffic{});
  EXPECT_EQ(disk_traffic(" 254 0 vda 10 1"), Traffic{});
  EXPECT_EQ(disk_traffic(" 254 0 vda 10 1\n 2 3 4 5 6 7 8 9\n"), Traffic{});
  EXPECT_EQ(disk_traffic("nonsense\n\n 254 0 vda 1 0 2 0 3 0 4\n"), (Traffic{1, 3, 1024, 2048}));
  EXPECT_EQ(network_traffic("eth0: 1 2"), Traffic{});
  EXPECT_EQ(network_traffic("x\ny"), Traffic{});
  EXPECT_EQ(cpu_ticks("").busy, 0U);
}

}  // namespace
}  // namespace tare::guest
