// SPDX-License-Identifier: Apache-2.0
// Where tare keeps things. Injected at construction everywhere, so that a test uses a temporary tree.
#pragma once

#include <filesystem>

namespace tare {

//   state (/var/lib/tare)
//   ├── tare.db                       runs and samples; tare.db.lock: held by the agent that writes it
//   ├── measure.lock                  held by the agent that measures
//   ├── images/<digest>/              rootfs/, rootfs.erofs
//   ├── kernels/<release>/            vmlinuz, vmlinux, modules/
//   ├── volumes/<name>/               kept by name, for workloads that mount it
//   ├── root/                         empty: each native process mounts its root filesystem here, in a mount namespace of its own
//   ├── guest/                        initramfs, accelerator verdict
//   ├── libvirt-<n>/                  root of the embedded driver, one per agent that runs at the same time (vm/driver_root.h)
//   └── instances/<id>/               owner; upper/, work/; disk.img, channel, console; log
//   run (/run/tare)
//   ├── tare.sock                     the agent's API
//   ├── launcher.sock                 the launcher's socket
//   └── *.lock
struct Paths {
  std::filesystem::path state = "/var/lib/tare";
  std::filesystem::path run = "/run/tare";
  std::filesystem::path libexec;  // tare-launcher, tare-init, probe

  /// The defaults, overridden by TARE_STATE_DIR, TARE_RUN_DIR and TARE_LIBEXEC_DIR; libexec is ../libexec/tare beside the
  /// running program.
  static Paths from_environment();

  std::filesystem::path instances() const { return state / "instances"; }
  std::filesystem::path mount_point() const { return state / "root"; }
  std::filesystem::path images() const { return state / "images"; }
  std::filesystem::path volumes() const { return state / "volumes"; }
  std::filesystem::path kernels() const { return state / "kernels"; }
  std::filesystem::path guest() const { return state / "guest"; }
  std::filesystem::path database() const { return state / "tare.db"; }
  /// Guards the choice of a link's addresses, which all agents of this host share: one file, whatever `run` is.
  std::filesystem::path network_lock() const { return "/run/tare-network.lock"; }
  /// Which instances have which ids of the host (core/id_range.h), of all agents too.
  std::filesystem::path id_ranges() const { return "/run/tare-userns"; }
  std::filesystem::path socket() const { return run / "tare.sock"; }
};

}  // namespace tare
