// SPDX-License-Identifier: Apache-2.0
// The backend `vm`: a workload in a virtual machine of its own, by libvirt and QEMU. Thread-safe; its instances keep it alive.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "core/backend.h"
#include "core/control_group.h"
#include "core/paths.h"
#include "image/store.h"
#include "vm/plan.h"

namespace tare::vm {

struct VmSettings {
  std::string uri;               // libvirt's; empty: its driver embedded in this process
  std::filesystem::path kernel;  // directory with vmlinuz and modules/; empty: the newest found
  std::filesystem::path emulator = "/usr/bin/qemu-system-x86_64";
  Machine machine = Machine::microvm;               // of the profiles that do not choose
  VmProfile profile = VmProfile::standard;          // of workloads that do not choose
  Confinement confinement = Confinement::hardened;  // of the embedded driver's QEMU; a libvirtd has its own
  std::string cache = "writeback";                  // Disk::cache of what takes the guest's writes; tuned has its own
  std::filesystem::path device = "/dev/kvm";
  std::optional<Accelerator> accelerator;  // absent: KVM if the self-test passes, else emulation
  std::chrono::nanoseconds self_test = std::chrono::seconds(30);
};

struct VmParts {
  Paths paths;
  std::shared_ptr<ControlGroups> groups;
  std::shared_ptr<image::Store> images;
  VmSettings settings;
  std::string bridge_range = {};  // of tare0; empty: one that is free
  bool keeps_bridge = false;      // bridge::Settings::keep
  std::size_t parked = 2;         // clones that wait for each shape of workload that is started from them
};

std::unique_ptr<Backend> make_backend(VmParts parts);

}  // namespace tare::vm
