// SPDX-License-Identifier: Apache-2.0
// The phases of a start: what lies between the points of a timeline, one after the other. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/timeline.h"

namespace tare {

struct Phase {
  std::string_view name;          // "kernel"; its sample is "phase.kernel"
  std::string_view part_of;       // the phase that contains it; empty for one of those that add up to the start
  std::optional<double> seconds;  // never negative, and never 0 for what was not seen
  double error_seconds = 0;       // ± of it, where one end was read on a guest's clock and the other on the host's
  std::string missing;            // why there are no seconds
};

/// From `requested` to `ready`. Of a native backend: prepare, launch, execute, ready; of a guest that boots: prepare, libvirt, qemu,
/// firmware, decompression, kernel, initramfs (with its part modules), root, workload, ready; of a clone: prepare, resume, identity, ready.
/// A phase that would be negative is refused with that reason, not clamped; one of which an end was not seen tells why.
std::vector<Phase> phases_of(const Timeline& timeline);

/// What happens in a phase, in words; nothing for a name that is none.
struct PhaseText {
  std::string_view name;
  std::string_view part_of;
  std::string_view meaning;
};
/// Those of a course, in their order.
std::vector<PhaseText> phase_texts(Course course);

}  // namespace tare
