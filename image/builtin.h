// SPDX-License-Identifier: Apache-2.0
// What the built-in image tare/probe holds: a pure list, and the act of writing it below a directory.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tare::image {

struct BuiltinEntry {
  bool directory = false;
  std::string path;  // absolute in the image
  unsigned mode = 0644;
  std::string content;  // of a file
};

/// Parents before children. `probe` is the content of the program.
std::vector<BuiltinEntry> builtin_entries(std::string probe);
/// "sha256:…" over paths, modes and contents.
std::string builtin_digest(const std::vector<BuiltinEntry>& entries);
/// Writes them below `root`, which must not exist, whatever the umask is.
void write_builtin(const std::vector<BuiltinEntry>& entries, const std::filesystem::path& root);

}  // namespace tare::image
