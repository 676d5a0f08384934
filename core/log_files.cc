// SPDX-License-Identifier: Apache-2.0
#include "core/log_files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace tare {
namespace fs = std::filesystem;

std::string log_file(const std::string& path, std::uint64_t position) { return path + "." + std::to_string(position); }

std::vector<std::uint64_t> log_files(const std::string& path) {
  const std::string prefix = fs::path(path).filename().string() + ".";
  std::vector<std::uint64_t> found;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(fs::path(path).parent_path(), gone)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(prefix)) continue;
    std::uint64_t begin = 0;
    const auto [end, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), begin);
    if (error == std::errc() && end == name.data() + name.size()) found.push_back(begin);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace tare
