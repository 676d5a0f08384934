// SPDX-License-Identifier: Apache-2.0
// The directories of an image, one over the other, looked into before there is an overlay: by the kernel's rules for one (overlayfs), so
// that what is found here is what the instance sees. Nothing of the host is reachable: links and ".." stay inside. Any thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/fd.h"

namespace tare::image {

class Layers {
 public:
  /// `roots`, the uppermost first; at least one. Throws Error naming one that is not there.
  explicit Layers(const std::vector<std::filesystem::path>& roots);

  /// What `path` is for a process whose root the layers are, links followed: an O_PATH descriptor. None with errno where there is nothing:
  /// ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EACCES.
  Fd find(const std::string& path) const;

 private:
  using Directory = std::vector<std::shared_ptr<const Fd>>;  // the same directory in each layer that shows through
  struct Entry;
  static Entry look(const Directory& in, const std::string& name);

  Directory root_;
};

/// Calls `use` while the directory `place` shows several layers as one, read-only: on a thread with a mount namespace of its own, which its
/// children share, so that the host's mount table stays as it is. Throws what `use` throws, and Error where the kernel refuses.
void with_merged(const std::vector<std::filesystem::path>& roots, const std::filesystem::path& place, const std::function<void()>& use);

}  // namespace tare::image
