// SPDX-License-Identifier: Apache-2.0
// The directory of one instance, state/instances/<id>, which says who owns it: so that whatever a crash leaves can be found.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
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
  /// The directory of a dead agent's instance, ours from now on. Throws Error when it is not there.
  static InstanceDir adopt(const Paths& paths, const std::string& instance_id);
  const std::filesystem::path& path() const { return path_; }
  std::string instance_id() const { return path_.filename().string(); }
  /// Writes `file` so that a reader sees all of it or none. It outlives the agent; it is not synced, because it need not outlive the host.
  void write(const std::string& file, std::string_view content) const;
  /// Gives up ownership: the directory stays when this owner dies.
  void release() noexcept { path_.clear(); }
  /// Removes the directory. Throws Error naming what stayed; the destructor does the same without a word.
  void remove();

 private:
  InstanceDir() = default;
  std::filesystem::path path_;
};

/// InstanceDir::write() into `directory`.
void write_beside(const std::filesystem::path& directory, const std::string& file, std::string_view content);

/// Ids of instances whose owner is dead.
std::vector<std::string> orphaned_instances(const Paths& paths);

}  // namespace tare
