// SPDX-License-Identifier: Apache-2.0
// The root file system of an instance: an overlay over the image's read-only directories, mounted nowhere yet. The descriptor is all there
// is of it until the child moves it into its own mount namespace, so the host's mount table never changes, and it dies with its last
// descriptor. Made in the agent beside other preparations: at 0.25–0.8 ms it is the dearest mount of a start. Any thread.
#pragma once

#include <string>
#include <vector>

#include "core/fd.h"

namespace tare::container {

struct Overlay {
  std::vector<std::string> lower;  // directories of the image's layers, the uppermost first
  std::string directory;           // of the instance: upper/ and work/ are there
  bool devices = false;            // whether device nodes in it work
  int user_namespace = -1;         // the layers' ids are this one's, so that what the image gives to root belongs to its root
};

/// How the kernel is told the layers.
enum class LayerForm {
  one_by_one,  // lowerdir+ of fsconfig(2), Linux 6.5; those with ids of a user namespace by descriptors of trees mounted nowhere, 6.15
  at_once,     // a page of options for mount(2), in a mount namespace of a moment where such trees have a place
};

/// In the first form that this kernel takes. Throws Error naming what failed, with a hint; Error(invalid) for a path that overlayfs'
/// options cannot express.
Fd mount_overlay(const Overlay& overlay, const std::string& who);
/// In this form alone.
Fd mount_overlay(const Overlay& overlay, const std::string& who, LayerForm form);

}  // namespace tare::container
