// SPDX-License-Identifier: Apache-2.0
// The root file system of an instance: an overlay over the image's read-only directory, mounted nowhere yet. The descriptor is all there
// is of it until the child moves it into its own mount namespace, so the host's mount table never changes, and it dies with its last
// descriptor. Made in the agent beside other preparations: at 0.25–0.8 ms it is the dearest mount of a start. Any thread.
#pragma once

#include <string>

#include "core/fd.h"

namespace tare::container {

struct Overlay {
  std::string lower;      // root file system of the image
  std::string directory;  // of the instance: upper/ and work/ are there
  bool devices = false;   // whether device nodes in it work
};

/// Throws Error naming what failed, with a hint; Error(invalid) for a path that overlayfs' options cannot express.
Fd mount_overlay(const Overlay& overlay, const std::string& who);

}  // namespace tare::container
