// SPDX-License-Identifier: Apache-2.0
// The accelerator's verdict, with a QEMU that is a shell script.
#include "vm/accelerator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

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
