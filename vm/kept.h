// SPDX-License-Identifier: Apache-2.0
// What the directory of a VM that may outlive its agent holds for the next one, which cannot ask anybody else for it. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/instance_dir.h"
#include "core/process.h"
#include "core/timeline.h"
#include "core/workload.h"
#include "image/store.h"
#include "vm/plan.h"

namespace tare::vm {

/// Those that nobody can see again.
constexpr Mark kKeptMarks[] = {Mark::launched, Mark::kernel, Mark::init, Mark::executed};

struct Kept {
  std::filesystem::path run;  // the run directory of the agents that may have it
  std::string token;          // of its guest
  image::Image image;         // as it was at the start
  Start started_as = Start::cold;
  std::string confinement;
  std::optional<std::uint32_t> first_id;  // of its range of ids
  VmPlan plan;                            // of it on disk: accelerator, profile, vcpus, vcpu_pins, traits, host and interface
  std::string address;                    // with its prefix
  std::vector<std::string> servers;       // of its shares: process_identity()
  std::map<Mark, Instant> marks;          // of kKeptMarks
};
void keep(const Kept& kept, const InstanceDir& directory);
/// Throws Error(conflict) for one of another version, Error(not_found) where the start was not over.
Kept kept(const std::filesystem::path& directory);

/// Written before QEMU is ended, which alone could tell it again.
struct KeptExit {
  Exit exit;
  Instant at;
};
void keep(const KeptExit& exit, const InstanceDir& directory);
/// Nothing where it has not ended. Throws Error(failed) for a damaged one.
std::optional<KeptExit> kept_exit(const std::filesystem::path& directory);

}  // namespace tare::vm
