// SPDX-License-Identifier: Apache-2.0
// The device list as the v1 controller and as a BPF program take it. The program is run here by a small interpreter.
#include "container/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <map>

namespace tare::container {
namespace {

using ::testing::ElementsAre;

/// Runs what device_program() emits: 32-bit loads and arithmetic, one kind of jump. Anything else fails the test.
bool allows(const std::vector<bpf_insn>& program, char type, const std::string& access, std::uint32_t major, std::uint32_t minor) {
  std::uint32_t bits = 0;
  for (const char letter : access) bits |= letter == 'r' ? 2U : letter == 'w' ? 4U : 1U;
  const std::array<std::uint32_t, 3> context = {bits << 16 | (type == 'b' ? 1U : 2U), major, minor};
  std::array<std::uint64_t, 11> r{};
  for (std::size_t at = 0; at < program.size(); ++at) {
    const bpf_insn& i = program[at];
    const auto value = static_cast<std::uint32_t>(i.imm);
    switch (i.code) {
      case BPF_LDX | BPF_W | BPF_MEM: r[i.dst_reg] = context.at(static_cast<std::size_t>(i.off / 4)); break;
      case BPF_ALU | BPF_MOV | BPF_K: r[i.dst_reg] = value; break;
      case BPF_ALU | BPF_MOV | BPF_X: r[i.dst_reg] = static_cast<std::uint32_t>(r[i.src_reg]); break;
      case BPF_ALU | BPF_AND | BPF_K: r[i.dst_reg] = static_cast<std::uint32_t>(r[i.dst_reg]) & value; break;
      case BPF_ALU | BPF_RSH | BPF_K: r[i.dst_reg] = static_cast<std::uint32_t>(r[i.dst_reg]) >> value; break;
      case BPF_JMP | BPF_JNE | BPF_K:
        if (r[i.dst_reg] != static_cast<std::uint64_t>(std::int64_t{i.imm})) at += static_cast<std::size_t>(i.off);
        break;
      case BPF_JMP | BPF_EXIT: return r[0] == 1;
      default: ADD_FAILURE() << "instruction " << int{i.code}; return false;
    }
  }
  ADD_FAILURE() << "the program does not end";
  return false;
}

TEST(DefaultDevices, AreWrittenToTheV1ControllerAfterAllWasDenied) {
  EXPECT_THAT(device_writes(default_devices()),
              ElementsAre(CgroupWrite{"devices", "devices", "devices.deny", "a"},
                          CgroupWrite{"devices", "devices", "devices.allow",
                                      "c *:* m\nb *:* m\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\nc 5:1 rwm\n"
                                      "c 5:2 rwm\nc 136:* rwm"}));
  EXPECT_EQ(device_writes({}).size(), 1U);
}

TEST(DefaultDevices, GrowByWhatAWorkloadIsGiven) {
  const DeviceList list =
      devices_with({{"/dev/null", S_IFCHR, 1, 3, 0, 0}, {"/dev/sda", S_IFBLK, 8, 0, 0, 0}, {"/dev/fuse", S_IFCHR, 10, 229, 0, 0}});
  EXPECT_EQ(list.size(), default_devices().size() + 2);  // null is there
  EXPECT_TRUE(allows(device_program(list), 'b', "rw", 8, 0));
  EXPECT_TRUE(allows(device_program(list), 'c', "rw", 10, 229));
  EXPECT_FALSE(allows(device_program(list), 'b', "r", 8, 1));
}

TEST(DeviceProgram, AllowsWhatEveryProgramNeeds) {
  const auto program = device_program(default_devices());
  const std::pair<unsigned, unsigned> needed[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}, {136, 0}, {136, 77}};
  for (const auto& [major, minor] : needed) {
    EXPECT_TRUE(allows(program, 'c', "rw", major, minor)) << major << ":" << minor;
    EXPECT_TRUE(allows(program, 'c', "rwm", major, minor)) << major << ":" << minor;
  }
}

TEST(DeviceProgram, DeniesTheHostsDisksAndMemory) {
  const auto program = device_program(default_devices());
  for (const char* access : {"r", "w", "rw", "rm", "rwm"}) {
    EXPECT_FALSE(allows(program, 'b', access, 254, 0)) << access;   // a disk
    EXPECT_FALSE(allows(program, 'c', access, 1, 1)) << access;     // /dev/mem
    EXPECT_FALSE(allows(program, 'c', access, 10, 229)) << access;  // /dev/fuse
    EXPECT_FALSE(allows(program, 'b', access, 1, 3)) << access;     // the numbers of /dev/null, as a block device
    EXPECT_FALSE(allows(program, 'c', access, 137, 0)) << access;
  }
}

TEST(DeviceProgram, ANodeMayBeMadeThatCannotBeOpened) {
  const auto program = device_program(default_devices());
  EXPECT_TRUE(allows(program, 'b', "m", 254, 0));
  EXPECT_TRUE(allows(program, 'c', "m", 1, 1));
}

TEST(DeviceProgram, ARuleGivesTheAccessItNamesAndNoMore) {
  const auto program = device_program({{'c', 10, -1, "r"}, {'b', 7, 3, "rw"}});
  EXPECT_TRUE(allows(program, 'c', "r", 10, 200));
  EXPECT_FALSE(allows(program, 'c', "rw", 10, 200));
  EXPECT_TRUE(allows(program, 'b', "w", 7, 3));
  EXPECT_FALSE(allows(program, 'b', "w", 7, 4));
  EXPECT_FALSE(allows(program, 'b', "m", 7, 3));
  EXPECT_FALSE(allows(device_program({}), 'c', "r", 1, 3));
}

}  // namespace
}  // namespace tare::container
