// SPDX-License-Identifier: Apache-2.0
// The backends `metal` and `container`: one launcher, one kind of instance, and one value of Isolation between them.
#pragma once

#include <memory>

#include "container/launcher.h"
#include "core/backend.h"
#include "core/control_group.h"
#include "core/paths.h"
#include "image/store.h"

namespace tare::container {

enum class Native { metal, container };

/// What both backends share; the agent owns one of each.
struct NativeParts {
  Paths paths;
  std::shared_ptr<Launcher> launcher;
  std::shared_ptr<ControlGroups> groups;
  std::shared_ptr<image::Store> images;
  std::string bridge_range = {};  // of tare0; empty: one that is free
  bool keeps_bridge = false;      // bridge::Settings::keep
  std::size_t parked = 8;         // what waits for workloads that are not started cold: so many for each shape of workload
};

/// Thread-safe. Its instances keep the parts alive.
std::unique_ptr<Backend> make_backend(Native kind, NativeParts parts);

}  // namespace tare::container
