// SPDX-License-Identifier: Apache-2.0
// Everything that can run workloads on this host, as the agent sees it. backends.cc, the one file of tare that names all of them, makes
// the real set; a test makes its own. Made before the agent has threads, because making it forks the launcher.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/doctor.h"
#include "core/backend.h"
#include "core/control_group.h"

namespace tare::agent {

class BackendSet {
 public:
  virtual ~BackendSet() = default;
  /// In the order of reports: metal, container, vm. Valid as long as the set.
  virtual std::vector<Backend*> all() const = 0;
  /// What recovery removes leftovers with; null when this set makes no control groups.
  virtual ControlGroups* control_groups() const = 0;
  /// Processes whose cost counts as the agent's own: the launcher.
  virtual std::vector<pid_t> helpers() const = 0;
  /// Ends what dead agents left at the launcher, but for the processes of these instances.
  virtual void end_unclaimed(const std::set<std::string>& instances) const { static_cast<void>(instances); }
  /// Removes what dead agents left that belongs to no instance. Throws Error.
  virtual void tidy() const {}
  /// Findings about this host that only the backends' own folders can make.
  virtual std::vector<Check> checks() const = 0;
};

using MakeBackends = std::function<std::unique_ptr<BackendSet>(const Config&)>;

/// metal, container and vm.
std::unique_ptr<BackendSet> make_backends(const Config& config);

}  // namespace tare::agent
