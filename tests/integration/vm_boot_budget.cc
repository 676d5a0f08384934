// SPDX-License-Identifier: Apache-2.0
// What a guest executes until it waits for its workload: the kernel, its modules and tare-init. Counted by QEMU (-icount) and not timed, so
// that no load of this host can change the number: one instruction is one nanosecond and one tick of the guest's time-stamp counter, which
// also counts the nanoseconds that the guest idles. A word that is lost from the kernel's command line, signatures that are checked again
// or a slower image of the kernel are seen here.
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/files.h"
#include "image/store.h"
#include "tests/support/qemu_by_hand.h"
#include "tests/support/vm_host.h"
#include "vm/guest_kernel.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMillion = 1'000'000;

class BootBudget : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    paths_ = test::vm_paths();
    rootfs_ = paths_.state / "budget-rootfs";
    fs::create_directories(rootfs_ / "bin");
    kernel_ = find_kernel(paths_, find_kernel(Paths::from_environment(), {}).vmlinuz.parent_path());
  }
  VmPlan plan() const {
    const image::Store store(paths_);
    VmPlan plan;
    plan.accelerator = Accelerator::tcg;
    plan.kernel = elf_image(paths_, kernel_);
    plan.initramfs = initramfs(paths_, kernel_, Transport::mmio);
    plan.tsc_khz = 1'000'000;  // that clock's
    plan.image.file = store.erofs(store.resolve("dir:" + rootfs_.string()));
    plan.image.read_only = true;
    return plan;
  }
  /// Each with the time that the guest idles.
  struct Count {
    std::int64_t firmware = 0;  // from the vCPU's first instruction until the kernel's clock runs
    std::int64_t to_init = 0;   // from the vCPU's first instruction
    std::int64_t modules = 0;
    std::int64_t to_channel = 0;  // from the vCPU's first instruction
  };
  Count instructions(const VmPlan& plan) const {
    const auto boot = test::QemuByHand(paths_, plan, {"-icount", "shift=0,sleep=off"}).boot();
    const guest::Hello& hello = boot.hello;
    Count count;
    count.to_init = static_cast<std::int64_t>(hello.init_ticks);
    count.firmware = count.to_init - (hello.init - hello.kernel);
    count.modules = hello.loaded - hello.loading;
    count.to_channel = count.to_init + hello.opened - hello.init;
    return count;
  }

  Paths paths_;
  fs::path rootfs_;
  KernelFiles kernel_;
};

TEST_F(BootBudget, IsInItsInitAfter500MillionInstructionsAndHasItsModulesAfter50MillionMore) {
  const Count count = instructions(plan());
  RecordProperty("million_to_init", std::to_string(count.to_init / kMillion));
  RecordProperty("million_for_modules", std::to_string(count.modules / kMillion));
  RecordProperty("million_to_channel", std::to_string(count.to_channel / kMillion));
  EXPECT_LE(count.firmware, 30 * kMillion);  // most of it is the kernel's, before it has a clock
  EXPECT_LE(count.to_init, 500 * kMillion);
  EXPECT_LE(count.modules, 50 * kMillion);
  EXPECT_LE(count.to_channel, 540 * kMillion);  // tare-init's own work, and the wait for the channel's port
  // Fewer would be counters that do not count.
  EXPECT_GE(count.firmware, kMillion);
  EXPECT_GE(count.to_init, 100 * kMillion);
  EXPECT_GE(count.modules, 5 * kMillion);
}

TEST_F(BootBudget, IsTheSameEachTime) {
  const Count first = instructions(plan());
  const Count second = instructions(plan());
  const auto expect_near = [](std::int64_t a, std::int64_t b) {
    EXPECT_NEAR(static_cast<double>(a), static_cast<double>(b), 0.02 * static_cast<double>(b));
  };
  expect_near(first.firmware, second.firmware);
  expect_near(first.to_init, second.to_init);
  expect_near(first.modules, second.modules);
}

}  // namespace
}  // namespace tare::vm
