// SPDX-License-Identifier: Apache-2.0
// What guests start with, found and made once for a process: libvirt's connection, the accelerator, the kernel. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "core/paths.h"
#include "vm/accelerator.h"
#include "vm/connection.h"
#include "vm/guest_kernel.h"
#include "vm/vm_backend.h"

namespace tare::vm {

/// What is made once for a process and serves all its instances.
struct Machinery {
  std::shared_ptr<Connection> connection;
  KernelFiles kernel;
  std::filesystem::path elf;
  Verdict verdict;
  std::uint64_t tsc_khz = 0;
};
/// Throws Error that says what is missing on this host.
Machinery make_machinery(const Paths& paths, const VmSettings& settings);

struct BootKernel {
  KernelFiles files;
  std::filesystem::path elf;
};
/// The kernel that this host runs, where it is installed and QEMU can enter it; else that of all guests, and the parity tells.
BootKernel kernel_of_host(const Paths& paths, const Machinery& with);

/// What libvirt executes for this QEMU: with the embedded driver a link to tare-emulator by QEMU's name. A libvirtd runs QEMU as a user of
/// its own, who may not write to control groups: it gets QEMU itself, which is moved afterwards.
std::filesystem::path executed_emulator(const Paths& paths, const VmSettings& settings, const std::filesystem::path& emulator);
/// Makes that link.
void link_emulator(const Paths& paths, const std::filesystem::path& link);

}  // namespace tare::vm
