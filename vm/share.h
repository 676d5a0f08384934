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

/// A virtiofsd with what it serves, killed when the owner dies. It outlives an owner that is killed.
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
  /// The one that an earlier agent had, in the instance's `directory`: `server` is its process_identity(). It may have ended.
  Share(const Mount& mount, std::uint16_t number, const std::filesystem::path& directory, const std::string& server);
  Share(Share&&) noexcept = default;
  Share& operator=(Share&&) = delete;
  ~Share();

  /// On which it listens for QEMU.
  const std::filesystem::path& socket() const { return socket_; }
  bool is_file() const { return is_file_; }
  /// What it said when it ended by itself; empty while it lives.
  std::string last_words();
  /// For the next agent; empty when it has ended.
  std::string server() const { return process_identity(pid_).value_or(""); }
  /// It stays when its owner dies.
  void leave() noexcept;

 private:
  bool has_ended(Deadline deadline);

  std::string target_;
  std::filesystem::path socket_;
  std::filesystem::path log_;
  bool is_file_ = false;
  pid_t pid_ = -1;
  Fd process_;                   // pidfd
  std::optional<Child> server_;  // where it is ours to reap
};

/// The mounts of a workload in the order in which they are made. Shares are numbered from 0; which of them are files is not known yet.
std::vector<GuestMount> guest_mounts(const Workload& workload);
/// True when one of the workload's mounts needs a share.
bool needs_share(const Workload& workload);
/// virtiofsd's path. Throws Error(unavailable) that says what to install.
std::filesystem::path find_virtiofsd();

}  // namespace tare::vm
