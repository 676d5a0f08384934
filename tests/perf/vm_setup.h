// SPDX-License-Identifier: Apache-2.0
// What every perf case of virtual machines begins with.
#pragma once

#include <filesystem>
#include <memory>

#include "container/cgroup.h"
#include "core/files.h"
#include "tests/support/vm_host.h"
#include "vm/guest_kernel.h"
#include "vm/vm_backend.h"

namespace tare::perf {

/// Directories of the build, a root file system with the test workload as /bin/w, which goes with this, and the kernel that this host has.
struct VmSetup {
  Paths paths = test::vm_paths();
  TempDir directory{paths.state};
  std::filesystem::path rootfs = directory.path() / "rootfs";
  vm::VmSettings settings;

  VmSetup() {
    std::filesystem::create_directories(rootfs / "bin");
    std::filesystem::copy_file(paths.libexec / "test-workload", rootfs / "bin/w");
    settings.kernel = vm::find_kernel(Paths::from_environment(), {}).vmlinuz.parent_path();
  }
  std::unique_ptr<Backend> backend(std::size_t parked = vm::VmParts{}.parked) const {
    return vm::make_backend({paths, container::make_control_groups(), std::make_shared<image::Store>(paths), settings, {}, false, parked});
  }
  Workload workload(std::vector<std::string> command) const {
    Workload workload;
    workload.name = "perf";
    workload.image = "dir:" + rootfs.string();
    workload.command = std::move(command);
    return workload;
  }
};

}  // namespace tare::perf
