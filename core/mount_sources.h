// SPDX-License-Identifier: Apache-2.0
// What a workload's binds and volumes bring from the host, for every backend: opened before there is a process. Any thread.
#pragma once

#include <filesystem>
#include <string>

#include "core/fd.h"
#include "core/paths.h"

namespace tare {

struct MountSource {
  std::string path;    // on the host
  std::string target;  // for sentences
  bool read_only = false;
  bool set_ids = true;  // set-user-ID programs in it keep their word
  bool devices = true;  // device nodes in it work
};

/// A clone of what is mounted at the source and below, mounted nowhere, private, with these flags on every mount in it. Throws Error naming
/// `who`, the target and the source.
Fd open_source(const MountSource& source, const std::string& who);
/// The same of what a workload asked for: makes the directory of a volume when it is missing (it stays) and refuses tare's own directories.
Fd open_requested_source(const MountSource& source, const Paths& paths, const std::string& who);

}  // namespace tare
