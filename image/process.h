// SPDX-License-Identifier: Apache-2.0
// What a workload runs in its image, the same on every backend: the image's configuration with the workload's on top. Any thread.
#pragma once

#include <string>
#include <vector>

#include "core/workload.h"
#include "image/store.h"
#include "image/user.h"

namespace tare::image {

struct Process {
  std::string program;                 // the file in the image that is executed; a mount's, which the image does not have, as it was named
  std::vector<std::string> arguments;  // argv, at least one
  std::vector<std::string> environment;  // KEY=VALUE, each key once; HOSTNAME, HOME and TERM as Docker sets them
  std::string directory;                 // absolute
  User user;
};

/// The process of `workload` in `image` on a host or guest named `hostname`. Throws Error(invalid) where neither has a command, and what
/// resolve_user() and find_command() throw.
Process process_of(const Workload& workload, const Image& image, const std::string& hostname);

}  // namespace tare::image
