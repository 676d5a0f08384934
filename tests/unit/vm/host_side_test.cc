// SPDX-License-Identifier: Apache-2.0
// What the host's threads of one QEMU say, read from a fake /proc.
#include "vm/host_side.h"

#include <gtest/gtest.h>

#include "core/files.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;

class HostSideOf : public testing::Test {
 protected:
  void thread(int tid, const std::string& name, const std::string& schedstat) { task("42/task/" + std::to_string(tid), name, schedstat); }
  void task(const std::string& where, const std::string& name, const std::string& schedstat) {
    fs::create_directories(proc_.path() / where);
    write_file_atomic(proc_.path() / where / "comm", name + "\n");
    write_file_atomic(proc_.path() / where / "schedstat", schedstat);
  }
  std::optional<HostSide> read(bool has_vhost, std::optional<std::chrono::nanoseconds> total) {
    return read_host_side(proc_.path(), 42, has_vhost, [total] { return total; });
  }
  TempDir proc_;
};

TEST_F(HostSideOf, ThreadsAreToldApartByTheirNames) {
  thread(42, "qemu-system-x86", "1000 7 9");
  thread(43, "CPU 0/KVM", "500000 300 9");
  thread(44, "CPU 1/KVM", "600000 400 9");
  thread(45, "IO iothread1", "7000 1 9");
  thread(46, "vhost-42", "80 1 9");
  thread(47, "worker", "5 1 9");
  thread(48, "IO mon_iothread", "3 1 9");                             // the monitor's
  const auto side = read(true, std::chrono::nanoseconds(1'110'000));  // a worker that has ended used the rest
  ASSERT_TRUE(side);
  EXPECT_EQ(side->vcpu.count(), 1'100'000);
  EXPECT_EQ(side->vcpu_delay.count(), 700);
  EXPECT_EQ(side->iothread.count(), 7000);
  EXPECT_EQ(side->vhost.count(), 80);
  EXPECT_EQ(side->emulator.count(), 1'110'000 - 1'100'000 - 7000 - 80);
}

TEST_F(HostSideOf, AKernelThreadServesTheNetworkOfOlderKernels) {
  thread(42, "qemu-system-x86", "1000 7 9");
  thread(43, "ALL CPUs/TCG", "5000 3 9");
  task("77", "vhost-42", "90 1 9");
  task("78", "vhost-43", "1000 1 9");
  task("self", "vhost-42", "4000 1 9");
  EXPECT_EQ(read(true, std::chrono::nanoseconds(6000))->vhost.count(), 90);
  EXPECT_EQ(read(true, std::chrono::nanoseconds(6000))->emulator.count(), 1000);
  EXPECT_EQ(read(false, std::chrono::nanoseconds(6000))->vhost.count(), 0);
}

TEST_F(HostSideOf, NothingIsToldOfAProcessThatIsGoneOrAnother) {
  EXPECT_FALSE(read(false, std::chrono::nanoseconds(6000)));
  thread(42, "qemu-system-x86", "");
  EXPECT_FALSE(read(false, std::chrono::nanoseconds(6000))) << "without statistics";
  thread(43, "CPU 0/KVM", "5000 3 9");
  EXPECT_FALSE(read(false, std::nullopt));
  EXPECT_FALSE(read(false, std::chrono::nanoseconds(4999))) << "less than its own threads used";
  EXPECT_TRUE(read(false, std::chrono::nanoseconds(5000)));
}

}  // namespace
}  // namespace tare::vm
