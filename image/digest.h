// SPDX-License-Identifier: Apache-2.0
// SHA-256 of what an image holds. Values only; any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace tare::image {

/// SHA-256 over a sequence of fields; each is preceded by its length, so that no two sequences run together.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;
  void add(std::string_view field);
  void add(std::uint64_t number);
  /// "sha256:" and 64 hexadecimal digits. Once only.
  std::string text();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// What identifies the tree below `root` without reading its files: for each entry in the order of its path the path, type and mode,
/// owner, size (of files), modification time in nanoseconds (of all but directories) and the target (of links) or number (of devices).
/// A file that is changed while its size and time are put back keeps the digest. Other mounts below `root` are not entered.
std::string tree_digest(const std::filesystem::path& root);

}  // namespace tare::image
