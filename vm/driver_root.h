// SPDX-License-Identifier: Apache-2.0
// The root directory of libvirt's embedded driver: who holds one, and what a holder that was killed left in it. Without libvirt, so that
// recovery and tare-guard can use it. Any thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "core/files.h"
#include "core/paths.h"

namespace tare::vm {

//   paths.state
//   ├── libvirt.lock                  held while a root is chosen or tidied
//   ├── libvirt-<n>.lock              held by the agent whose driver works in libvirt-<n>
//   └── libvirt-<n>/
//       ├── run/qemu/<id>.pid, .xml   libvirt's record of a domain; of a killed agent's domain it stays
//       ├── log/qemu/<id>.log         what the domain's QEMU said
//       └── lib/qemu/
//           ├── domain-<n>-<id>/      the domain's monitor; the same name below channel/target/
//           └── qmp-XXXXXX/           of a QEMU that is asked what it can do; it waits for questions for ever when the asker is killed

/// A root of our own until the owner dies.
class DriverRoot {
 public:
  /// Whose a domain is that lives on in a root that nobody holds.
  enum class Owner { nobody, us, others };
  using OwnerOf = std::function<Owner(const std::string& domain)>;
  /// Of paths.state/libvirt-<n> that no living process holds the one with domains of ours, else the first without others'; tidied.
  /// paths.state is absolute, and exists.
  static DriverRoot claim(const Paths& paths, const OwnerOf& owner_of = {});
  const std::filesystem::path& path() const { return path_; }

 private:
  DriverRoot(std::filesystem::path path, FileLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::filesystem::path path_;
  FileLock lock_;
};

/// In each root that no living process holds: kills the QEMUs that wait there to be asked, and removes their directories, and the records,
/// directories and logs of domains whose QEMU is gone. Throws Error naming what could not be removed.
void tidy_driver_roots(const Paths& paths);

}  // namespace tare::vm
