// SPDX-License-Identifier: Apache-2.0
#include "core/phases.h"

#include <array>
#include <chrono>
#include <span>
#include <variant>

#include "core/units.h"

namespace tare {
namespace {

using Point = std::variant<Mark, Moment>;

struct Stretch {
  std::string_view name;
  Point from;
  Point to;
  std::string_view meaning;
  std::string_view part_of = {};
};

constexpr std::array kBoot = {
    Stretch{"prepare", Mark::requested, Mark::prepared, "plan, scratch disk, control group, network"},
    Stretch{"libvirt", Mark::prepared, Moment::spawned, "libvirt's checks, until it has executed QEMU"},
    Stretch{"qemu", Moment::spawned, Moment::entered, "QEMU makes its machine, and libvirt sets it up"},
    Stretch{"firmware", Moment::entered, Mark::kernel, "the firmware, and the kernel until its clock runs"},
    Stretch{"decompression", Mark::kernel, Moment::decompressed, "the kernel unpacks itself"},
    Stretch{"kernel", Mark::kernel, Mark::init, "the guest's kernel, until its init"},
    Stretch{"initramfs", Mark::init, Moment::opened, "tare-init, until it talks to the host"},
    Stretch{"modules", Moment::loading, Moment::loaded, "it loads the kernel's modules", "initramfs"},
    Stretch{"root", Moment::opened, Moment::rooted, "the workload's disks, network and root"},
    Stretch{"workload", Moment::rooted, Mark::executed, "fork to execve, as the user it asks for"},
    Stretch{"ready", Mark::executed, Mark::ready, "the workload itself, until the probe answered"},
};
constexpr std::array kProcess = {
    Stretch{"prepare", Mark::requested, Mark::prepared, "root filesystem, control group, network"},
    Stretch{"launch", Mark::prepared, Mark::launched, "a process, with its namespaces"},
    Stretch{"execute", Mark::launched, Mark::executed, "mounts, limits and privileges, until execve"},
    Stretch{"ready", Mark::executed, Mark::ready, "the workload itself, until the probe answered"},
};

constexpr std::array kClone = {
    Stretch{"prepare", Mark::requested, Mark::prepared, "scratch disk, control group, network; restored: QEMU takes the template's state"},
    Stretch{"resume", Mark::prepared, Mark::launched, "the virtual CPU goes on"},
    Stretch{"identity", Mark::launched, Moment::identified, "the guest takes its name, addresses, clock and entropy"},
    Stretch{"ready", Moment::identified, Mark::ready, "the workload itself, until the probe answered"},
};

Timeline::Sight sight_of(const Timeline& timeline, const Point& point) {
  if (const auto* moment = std::get_if<Moment>(&point)) return timeline.at(*moment);
  const Mark mark = std::get<Mark>(point);
  Timeline::Sight sight{timeline.at(mark), std::nullopt, {}};
  if (const auto reading = timeline.guest(mark)) sight.error_bound = reading->error_bound;
  return sight;
}

std::string why_absent(const Timeline::Sight& sight, const Point& point) {
  if (!sight.reason.empty()) return sight.reason;
  const auto word = std::visit([](auto value) { return name(value); }, point);
  return "'" + std::string(word) + "' was not seen";
}

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

Phase measured(const Timeline& timeline, const Stretch& stretch) {
  Phase phase{stretch.name, stretch.part_of, std::nullopt, 0, {}};
  const Timeline::Sight from = sight_of(timeline, stretch.from);
  const Timeline::Sight to = sight_of(timeline, stretch.to);
  // The end first: its reason is about this phase, the begin's about the one before.
  if (!to.at || !from.at) {
    phase.missing = !to.at ? why_absent(to, stretch.to) : why_absent(from, stretch.from);
    return phase;
  }
  // Two readings of one clock differ exactly; the offset between two clocks is known within a bound.
  if (from.error_bound.has_value() != to.error_bound.has_value())
    phase.error_seconds = seconds(from.error_bound ? *from.error_bound : *to.error_bound);
  const double length = seconds(*to.at - *from.at);
  if (length < 0) {
    phase.missing = "refused: it would be " + text_of_seconds(-length) + " below zero, and the guest's clock is known within " +
                    text_of_seconds(phase.error_seconds);
    return phase;
  }
  phase.seconds = length;
  return phase;
}

std::span<const Stretch> stretches(Course course) {
  switch (course) {
    case Course::process: return kProcess;
    case Course::boot: return kBoot;
    case Course::clone: return kClone;
  }
  return {};
}

}  // namespace

std::vector<Phase> phases_of(const Timeline& timeline) {
  std::vector<Phase> phases;
  for (const Stretch& stretch : stretches(timeline.course())) phases.push_back(measured(timeline, stretch));
  return phases;
}

std::vector<PhaseText> phase_texts(Course course) {
  std::vector<PhaseText> out;
  for (const Stretch& stretch : stretches(course)) out.push_back({stretch.name, stretch.part_of, stretch.meaning});
  return out;
}

}  // namespace tare
