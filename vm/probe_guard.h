// SPDX-License-Identifier: Apache-2.0
// Ties the QEMUs that libvirt asks what they can do to this process' life.
#pragma once

#include "core/fd.h"
#include "core/paths.h"
#include "core/process.h"

namespace tare::vm {

/// Such a QEMU has made itself a daemon and waits on its monitor for questions, for ever if the asker is killed; a parent-death signal
/// does not survive its forks. While this object lives, a process of its own, tare-guard, waits for ours to end and then calls
/// tidy_driver_roots(). One owner at a time; any thread.
class ProbeGuard {
 public:
  /// Throws Error(unavailable) when paths.libexec has no tare-guard.
  explicit ProbeGuard(const Paths& paths);

 private:
  Fd lease_;  // the end of a pipe that the kernel closes with us, whatever ends us
  Child child_;
};

}  // namespace tare::vm
