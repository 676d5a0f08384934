// SPDX-License-Identifier: Apache-2.0
// KVM or emulation. /dev/kvm's presence says little: it may open, create a machine and run firmware, and still never bring a kernel up.
// So the guest's own kernel and tare-init are booted on it, once for a boot of the host, and the verdict is kept. Any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "core/paths.h"
#include "vm/plan.h"

namespace tare::vm {

struct SelfTest {
  std::filesystem::path emulator;
  std::filesystem::path kernel;
  std::filesystem::path initramfs;
  std::chrono::nanoseconds deadline = std::chrono::seconds(30);
  std::filesystem::path device = "/dev/kvm";
};

struct Verdict {
  Accelerator accelerator = Accelerator::tcg;
  std::string reason;  // why not KVM; empty with KVM
  std::string remedy;
  bool tested = false;  // a guest was booted for it: it holds as long as the host is up. Else it can change at any moment
};

/// A device that is missing or closed is told at once, and never kept. Else the kept verdict when host boot, kernel, initramfs and emulator
/// are the same, or a new one, which takes up to test.deadline.
Verdict choose_accelerator(const Paths& paths, const SelfTest& test);

/// Whether the user that libvirt runs QEMU as can open /dev/kvm. If not, libvirt asks QEMU anew what it can do at every start: 50 s
/// instead of half a second. `qemu_conf` is libvirt's configuration; without a `user` in it, Debian's libvirt-qemu is meant.
struct KvmAccess {
  bool readable = true;
  std::string user;
};
KvmAccess kvm_access_of_emulator_user(const std::filesystem::path& qemu_conf, const std::filesystem::path& device = "/dev/kvm");

}  // namespace tare::vm
