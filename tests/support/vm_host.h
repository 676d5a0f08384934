// SPDX-License-Identifier: Apache-2.0
// What every program that starts real guests shares.
#pragma once

#include <filesystem>
#include <string>

#include "core/files.h"
#include "core/paths.h"

namespace tare::test {

/// Of the build, and kept: the accelerator's verdict and libvirt's cache take longer to make than a start.
inline Paths vm_paths() {
  Paths paths;
  paths.state = std::filesystem::path(TARE_BINARY_DIR) / "vm-state";
  paths.run = paths.state / "run";
  paths.libexec = std::filesystem::path(TARE_BINARY_DIR) / "libexec" / "tare";
  std::filesystem::create_directories(paths.run);
  return paths;
}

/// Process id of the QEMU of an instance; -1 when there is none.
inline int emulator_of(const std::string& id) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto line = try_read_file(entry.path() / "cmdline");
    if (line && line->find("guest=" + id) != std::string::npos) return std::stoi(entry.path().filename().string());
  }
  return -1;
}

}  // namespace tare::test
