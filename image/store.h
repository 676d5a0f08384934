// SPDX-License-Identifier: Apache-2.0
// Images on this host: from a reference to a root filesystem, as a read-only directory (metal, container) or as an EROFS image (VM).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/paths.h"

namespace tare::image {

struct Image {
  std::string reference;                      // as the user wrote it: "tare/probe", "dir:/srv/rootfs"
  std::string digest;                         // "sha256:…" over the built-in tree's content; empty for a directory, which may change
  std::vector<std::filesystem::path> layers;  // read-only directories, the uppermost first; at least one
  std::vector<std::string> command;           // used when the workload has none
  std::vector<std::string> environment;       // KEY=VALUE; has PATH
  std::string working_directory = "/";
};

/// Thread-safe; safe against another process that uses the same state directory.
class Store {
 public:
  explicit Store(Paths paths);
  /// "tare/probe" is built in: made from libexec/probe on first use. "dir:/path" is a directory with a root filesystem, used as it is;
  /// "dir:/top:/middle:/base" are several, one over the other by the rules of overlayfs.
  /// Throws Error(not_found) with the names that exist.
  Image resolve(const std::string& reference) const;
  /// The EROFS image of `image`, made by mkfs.erofs where there is none of the tree as it is now, and kept under its digest.
  std::filesystem::path make_erofs(const Image& image) const;
  /// What make_erofs() gave for this reference before: a start does not walk the tree. Makes it where nobody has.
  std::filesystem::path erofs(const Image& image) const;

 private:
  struct Known;
  Image resolve_builtin() const;
  Image resolve_directory(const std::string& reference) const;
  std::filesystem::path erofs_of(const std::string& digest, const Image& image) const;

  Paths paths_;
  std::shared_ptr<Known> known_;
};

/// The file that `argv0` means in `image`: an absolute path as it is, one with a slash below the working
/// `directory`, else the first hit in PATH. Links are followed inside the root only.
/// Throws Error(not_found) "command 'x' is not in image 'y'", or Error(invalid) when it is not executable.
std::string find_command(const Image& image, const std::string& argv0, const std::vector<std::string>& environment,
                         const std::string& directory);

}  // namespace tare::image
