// SPDX-License-Identifier: Apache-2.0
// Clock mapping, sparse copies and the accelerator's verdict, without a machine.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "vm/accelerator.h"
#include "vm/channel.h"
#include "vm/host_side.h"
#include "vm/scratch_disk.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

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

TEST(ClockMap, TrustsTheExchangeWithTheLeastRoundTrip) {
  ClockMap clock;
  clock.add(Instant{1000}, 100, Instant{3000});   // offset 1900 ± 1000
  clock.add(Instant{5000}, 3100, Instant{5200});  // offset 2000 ± 100
  clock.add(Instant{9000}, 100, Instant{9900});   // worse again
  EXPECT_EQ(clock.exchanges(), 3);
  EXPECT_EQ(clock.error_bound().count(), 100);
  EXPECT_EQ(clock.host(3100), Instant{5100});
  EXPECT_EQ(clock.host(-100), Instant{1900});
}

TEST(ClockMap, KnowsNothingBeforeTheFirstExchange) { EXPECT_FALSE(ClockMap{}.known()); }

TEST(CopySparse, CopiesDataAndLeavesHoles) {
  const TempDir directory;
  const fs::path from = directory.path() / "from", to = directory.path() / "to";
  const Fd fd = open_file(from, O_RDWR | O_CREAT);
  ASSERT_EQ(::ftruncate(fd.get(), 64 << 20), 0);
  ASSERT_EQ(::pwrite(fd.get(), "middle", 6, 32 << 20), 6);
  copy_sparse(from, to);
  struct stat status {};
  ASSERT_EQ(::stat(to.c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 64 << 20);
  EXPECT_LT(status.st_blocks * 512, 1 << 20);
  char text[6];
  ASSERT_EQ(::pread(open_file(to, O_RDONLY).get(), text, 6, 32 << 20), 6);
  EXPECT_EQ(std::string_view(text, 6), "middle");
}

// Between file systems of two kinds the kernel copies nothing itself.
TEST(CopySparse, CopiesBetweenTwoFileSystems) {
  const TempDir memory("/dev/shm");
  const TempDir disk("/var/tmp");
  std::string text(200'000, 'x');
  text[150'000] = 'y';
  write_file_atomic(memory.path() / "from", text);
  copy_sparse(memory.path() / "from", disk.path() / "to");
  EXPECT_EQ(read_file(disk.path() / "to"), text);
}

TEST(CopySparse, DoesNotOverwriteWhatIsThere) {
  const TempDir directory;
  write_file_atomic(directory.path() / "from", "x");
  write_file_atomic(directory.path() / "to", "kept");
  EXPECT_THROW(copy_sparse(directory.path() / "from", directory.path() / "to"), Error);
  EXPECT_EQ(read_file(directory.path() / "to"), "kept");
}

class Choice : public testing::Test {
 protected:
  Choice() {
    paths_.state = directory_.path();
    test_.kernel = directory_.path() / "vmlinux";
    test_.initramfs = directory_.path() / "initramfs";
    test_.device = directory_.path() / "kvm";
    test_.deadline = std::chrono::milliseconds(500);
  }
  // A QEMU that does what the shell script says; $CONSOLE is its console file.
  void emulator_does(const std::string& script) {
    test_.emulator = directory_.path() / "qemu";
    write_file_atomic(test_.emulator, "#!/bin/sh\necho run >> " + (directory_.path() / "runs").string() +
                                          "\nfor word; do case $word in file:*) CONSOLE=${word#file:};; esac; done\n" + script + "\n");
    fs::permissions(test_.emulator, fs::perms::owner_all);
  }
  TempDir directory_;
  Paths paths_;
  SelfTest test_;
};

TEST_F(Choice, WithoutTheDeviceIsEmulationAndNoQemuRuns) {
  emulator_does("exit 0");
  const Verdict verdict = choose_accelerator(paths_, test_);
  EXPECT_EQ(verdict.accelerator, Accelerator::tcg);
  EXPECT_THAT(verdict.reason, HasSubstr("has no"));
  EXPECT_FALSE(fs::exists(directory_.path() / "runs"));
}

TEST_F(Choice, ADeviceThatAppearsIsTestedAnew) {
  emulator_does("echo 'tare-init: self-test passed' > $CONSOLE");
  ASSERT_EQ(choose_accelerator(paths_, test_).accelerator, Accelerator::tcg);
  write_file_atomic(test_.device, "");
  EXPECT_EQ(choose_accelerator(paths_, test_).accelerator, Accelerator::kvm);
}

TEST_F(Choice, ADeviceThatCanBeOpenedAtLastIsTestedAnew) {
  emulator_does("echo 'tare-init: self-test passed' > $CONSOLE");
  fs::create_directory(test_.device);  // not even root opens a directory for writing
  const Verdict closed = choose_accelerator(paths_, test_);
  ASSERT_EQ(closed.accelerator, Accelerator::tcg);
  EXPECT_THAT(closed.reason, HasSubstr("open " + test_.device.string()));
  EXPECT_THAT(closed.remedy, HasSubstr(::geteuid() == 0 ? "have " + test_.device.string() : "usermod --append --groups "));
  EXPECT_FALSE(closed.tested);
  fs::remove(test_.device);
  write_file_atomic(test_.device, "");
  EXPECT_EQ(choose_accelerator(paths_, test_).accelerator, Accelerator::kvm);
}

TEST_F(Choice, AKeptVerdictDoesNotOutliveTheDevice) {
  write_file_atomic(test_.device, "");
  emulator_does("echo 'tare-init: self-test passed' > $CONSOLE");
  ASSERT_EQ(choose_accelerator(paths_, test_).accelerator, Accelerator::kvm);
  fs::remove(test_.device);
  EXPECT_EQ(choose_accelerator(paths_, test_).accelerator, Accelerator::tcg);
}

TEST_F(Choice, KvmIsChosenWhenTheGuestsInitWasReached) {
  write_file_atomic(test_.device, "");
  emulator_does("echo '[ 1.0] tare-init: self-test passed' > $CONSOLE");
  EXPECT_EQ(choose_accelerator(paths_, test_).accelerator, Accelerator::kvm);
}

TEST_F(Choice, AKernelThatNeverFinishesMeansEmulationAfterTheDeadline) {
  write_file_atomic(test_.device, "");
  emulator_does("sleep 20");
  const Verdict verdict = choose_accelerator(paths_, test_);
  EXPECT_EQ(verdict.accelerator, Accelerator::tcg);
  EXPECT_THAT(verdict.reason, HasSubstr("did not reach its init within 500 ms"));
}

TEST_F(Choice, AQemuThatRefusesIsQuoted) {
  write_file_atomic(test_.device, "");
  emulator_does("echo 'qemu: failed to set MSR' >&2; exit 1");
  EXPECT_THAT(choose_accelerator(paths_, test_).reason, HasSubstr("exit code 1: qemu: failed to set MSR"));
}

TEST_F(Choice, TheVerdictIsKeptUntilTheEmulatorChanges) {
  write_file_atomic(test_.device, "");
  emulator_does("exit 1");
  const Verdict first = choose_accelerator(paths_, test_);
  const Verdict second = choose_accelerator(paths_, test_);
  EXPECT_EQ(first.reason, second.reason);
  EXPECT_EQ(read_file(directory_.path() / "runs"), "run\n");
  emulator_does("echo 'tare-init: self-test passed' > $CONSOLE; exit 0  # another one");
  EXPECT_EQ(choose_accelerator(paths_, test_).accelerator, Accelerator::kvm);
}

TEST(KvmAccess, IsJudgedForTheUserThatLibvirtIsConfiguredWith) {
  const TempDir directory;
  const fs::path conf = directory.path() / "qemu.conf", device = directory.path() / "kvm";
  write_file_atomic(device, "");
  fs::permissions(device, fs::perms::owner_read | fs::perms::owner_write);
  write_file_atomic(conf, "# user = \"root\"\n user = \"nobody\"\n");
  const KvmAccess nobody = kvm_access_of_emulator_user(conf, device);
  EXPECT_EQ(nobody.user, "nobody");
  EXPECT_FALSE(nobody.readable);
  write_file_atomic(conf, "user=\"root\"\n");
  EXPECT_TRUE(kvm_access_of_emulator_user(conf, device).readable);
  EXPECT_EQ(kvm_access_of_emulator_user(directory.path() / "none", device).user, "libvirt-qemu");
}

}  // namespace
}  // namespace tare::vm
