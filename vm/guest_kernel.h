// SPDX-License-Identifier: Apache-2.0
// The kernel that guests boot: a stock one of the distribution, found on this host, with the few modules a guest needs. What is derived
// from it (the ELF image, the initramfs) is made once and kept. Any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/paths.h"

namespace tare::vm {

struct KernelFiles {
  std::string release;            // "6.1.0-56-cloud-amd64"
  std::filesystem::path vmlinuz;  // as the distribution ships it
  std::filesystem::path modules;  // directory with modules.dep
};

/// The kernel of that release, below paths.kernels() or in /boot, if it is there.
std::optional<KernelFiles> kernel_named(const Paths& paths, const std::string& release, const std::filesystem::path& root = "/");
/// `configured` (a directory with vmlinuz and modules/) when not empty, else the newest release below paths.kernels(), else the newest in
/// /boot. Throws Error(unavailable) that says where it looked. `root` is "/" but in tests.
KernelFiles find_kernel(const Paths& paths, const std::filesystem::path& configured, const std::filesystem::path& root = "/");

/// The ELF kernel inside a bzImage with an LZ4 payload: QEMU enters it directly (PVH) and spares the guest its decompression.
/// Throws Error(unsuited) when the file is no bzImage or is compressed otherwise.
std::string elf_of_bzimage(std::string_view bzimage);
/// The same bytes with the zeros at the end of each segment left to the loader, which clears memory anyway.
std::string without_zero_tails(std::string elf);
/// A module without the signature that Debian appends: checking one costs more than loading the module.
std::string_view without_signature(std::string_view module);
/// Paths of modules.dep, dependencies first, each once, for modules by name ("virtio_blk"; '-' and '_' are one). A module that the list
/// does not have is built into the kernel or missing; the guest finds out.
std::vector<std::string> load_order(std::string_view modules_dep, const std::vector<std::string>& names);

/// The ELF image of `kernel`, made on first use in paths.guest().
std::filesystem::path elf_image(const Paths& paths, const KernelFiles& kernel);

/// Which devices the guest's machine has.
enum class Transport { mmio, pci };
/// What a guest has that not each one needs.
struct Extras {
  bool network = false;
  bool shares = false;  // virtiofs
};
/// The initramfs: tare-init and the modules for `transport` and `extras`. Made on first use in paths.guest() under the digest of its
/// content, so one file serves all instances.
std::filesystem::path initramfs(const Paths& paths, const KernelFiles& kernel, Transport transport, const Extras& extras = {});

}  // namespace tare::vm
