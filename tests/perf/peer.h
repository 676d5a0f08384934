// SPDX-License-Identifier: Apache-2.0
// Commands of others that a performance case is measured beside.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/process.h"

namespace tare::perf {

/// A small process of its own that runs a command when asked and tells how long it took, from before vfork to its end: no fork of a large
/// process in between, and crun can be given a mount namespace without the v2 tree, which it refuses on the hybrid layout.
class Peer {
 public:
  struct Options {
    bool hide_v2 = false;                  // a mount namespace without the v2 tree
    bool quiet = false;                    // what it says on stderr is not wanted
    std::vector<std::string> environment;  // KEY=VALUE, beside ours
  };
  explicit Peer(const std::vector<std::string>& command, const Options& options);
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer();
  /// Seconds. Throws Error when the command failed.
  double sample();

 private:
  pid_t pid_ = -1;
  Fd ask_;
  Fd answer_;
};

/// Samples of the peer that `make` gives. One that cannot be made (it is not installed, say) gives its reason as an Error at each call.
std::function<double()> sampler(const std::function<std::unique_ptr<Peer>()>& make);

/// `runtime run` of a bundle with the root file system, `command`, 2 CPUs, 256 MiB and 100 processes; namespaces, mounts and capabilities
/// as `runc spec` gives them. Bundle and state are made below `directory`.
std::vector<std::string> oci_command(const std::string& runtime, const std::filesystem::path& directory,
                                     const std::filesystem::path& rootfs, const std::vector<std::string>& command);

/// Debian's dockerd with directories, socket, mount and network namespace of its own, ended and removed with the owner.
class DockerDaemon {
 public:
  /// Starts it and imports `rootfs` as the image `peer:1`. Throws Error naming what is missing.
  DockerDaemon(const std::filesystem::path& directory, const std::filesystem::path& rootfs);
  DockerDaemon(const DockerDaemon&) = delete;
  DockerDaemon& operator=(const DockerDaemon&) = delete;
  ~DockerDaemon();
  /// A command line of the docker client against this daemon.
  std::vector<std::string> client(std::vector<std::string> arguments) const;

 private:
  std::filesystem::path directory_;
  std::unique_ptr<Child> daemon_;
};

}  // namespace tare::perf
