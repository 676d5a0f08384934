// SPDX-License-Identifier: Apache-2.0
// Archives for the kernel's initramfs (cpio "newc"), written with libarchive. Byte-stable for the same entries.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tare::image {

struct CpioEntry {
  enum class Kind { directory, file, character_device };
  Kind kind = Kind::file;
  std::string path;  // without leading slash: "lib/overlay.ko"
  unsigned mode = 0644;
  std::string content;  // file
  unsigned major = 0;   // character device
  unsigned minor = 0;
};

/// The archive, uncompressed. All entries belong to root and carry time 0.
std::string cpio(const std::vector<CpioEntry>& entries);

}  // namespace tare::image
