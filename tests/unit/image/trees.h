// SPDX-License-Identifier: Apache-2.0
// A state directory and a libexec directory of a test's own.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/files.h"
#include "core/paths.h"

namespace tare::image {

inline void put(const std::filesystem::path& path, const std::string& content, unsigned mode = 0644) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  ::chmod(path.c_str(), mode);
}

class Trees {
 public:
  Trees() { put(paths().libexec / "probe", "not a real program", 0755); }
  Paths paths() const {
    Paths paths;
    paths.state = directory_.path() / "state";
    paths.run = directory_.path() / "run";
    paths.libexec = directory_.path() / "libexec";
    return paths;
  }
  std::filesystem::path below(const std::string& name) const { return directory_.path() / name; }

 private:
  TempDir directory_;
};

}  // namespace tare::image
