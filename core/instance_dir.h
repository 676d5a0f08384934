// SPDX-License-Identifier: Apache-2.0
// The directory of one instance, state/instances/<id>, which says who owns it: so that whatever a crash leaves can be found.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/paths.h"

namespace tare {

/// Made before the first kernel object of an instance, removed after the last. Holds a file `owner` with the process id and start
/// time of the agent (pids are reused, start times are not).
class InstanceDir {
 public:
  InstanceDir(const Paths& paths, const std::string& instance_id);
  InstanceDir(InstanceDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  InstanceDir& operator=(InstanceDir other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~InstanceDir();
  const std::filesystem::path& path() const { return path_; }
  /// Removes the directory. Throws Error naming what stayed; the destructor does the same without a word.
  void remove();

 private:
  std::filesystem::path path_;
};

/// Ids of instances whose owner is dead.
std::vector<std::string> orphaned_instances(const Paths& paths);

}  // namespace tare
