// SPDX-License-Identifier: Apache-2.0
// A directory or file of the host in a guest: virtiofs, with one virtiofsd a mount. Any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/paths.h"
#include "core/process.h"
#include "core/workload.h"
#include "guest/protocol.h"

namespace tare::vm {

/// A mount as the guest is told of it.
struct GuestMount {
  Mount what;
  guest::MountAt::Kind kind = guest::MountAt::Kind::tmpfs;
  std::uint16_t share = 0;  // of the other kinds: which
};

/// A virtiofsd with what it serves, killed when the owner dies.
class Share {
 public:
  struct Settings {
    const Paths& paths;
    std::filesystem::path directory;    // of the instance; the socket lies here
    std::string tasks;                  // files through which a process enters the instance's control group, separated by ':'
    std::optional<std::uint32_t> user;  // QEMU's; absent: root
    std::string who;
  };
  /// Serves `mount`, the instance's share `number`. Throws Error naming the mount's target.
  Share(const Mount& mount, std::uint16_t number, const Settings& settings);
  Share(Share&&) noexcept = default;
  Share& operator=(Share&&) = delete;
  ~Share();

  /// On which it listens for QEMU.
  const std::filesystem::path& socket() const { return socket_; }
  bool is_file() const { return is_file_; }
  /// What it said when it ended by itself; empty while it lives.
  std::string last_words();

 private:
  std::string target_;
  std::filesystem::path socket_;
  std::filesystem::path log_;
  bool is_file_ = false;
  std::optional<Child> server_;  // there from the constructor's end
};

/// The mounts of a workload in the order in which they are made. Shares are numbered from 0; which of them are files is not known yet.
std::vector<GuestMount> guest_mounts(const Workload& workload);
/// True when one of the workload's mounts needs a share.
bool needs_share(const Workload& workload);
/// virtiofsd's path. Throws Error(unavailable) that says what to install.
std::filesystem::path find_virtiofsd();

}  // namespace tare::vm
