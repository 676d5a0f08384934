// SPDX-License-Identifier: Apache-2.0
// The named marks of one instance on the host's CLOCK_MONOTONIC.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/units.h"

namespace tare {

/// In the order in which they happen. A backend that lacks one leaves it absent.
enum class Mark {
  requested,  // somebody asked for the instance
  prepared,   // root filesystem, control group, network, domain XML are there
  launched,   // clone3 returned / QEMU runs its vCPU
  kernel,     // the guest's kernel was entered (VM only)
  init,       // the guest's PID 1 was entered (VM only)
  executed,   // the workload's execve succeeded
  ready,      // the readiness probe was satisfied
  responded,  // the first response of the application, where the probe is one (tcp has none)
  stopping,   // somebody asked it to stop
  exited,     // the workload's first process is gone
  removed,    // nothing of the instance is left on the host
};
constexpr std::size_t kMarkCount = 11;

std::string_view name(Mark mark) noexcept;  // "requested", …
std::optional<Mark> mark_named(std::string_view word) noexcept;

/// What a start consists of, which decides what its phases are (core/phases.h).
enum class Course {
  process,  // a native process is made
  boot,     // a virtual machine is made and its guest boots
  clone,    // a virtual machine goes on from where a template of it was frozen
};

/// What happens between two marks of a virtual machine: phases of its start (core/phases.h) end here. A native backend has none.
enum class Moment {
  spawned,       // the process that becomes QEMU has begun
  entered,       // its virtual CPU runs
  decompressed,  // the kernel has unpacked itself
  loading,       // the guest's init begins to load modules …
  loaded,        // … and has loaded them
  opened,        // the channel to the host is open
  rooted,        // the workload's root is mounted and entered
  identified,    // a clone has its own name, addresses, clock and entropy, and has told so
};
constexpr std::size_t kMomentCount = 8;

std::string_view name(Moment moment) noexcept;  // "spawned", …

/// A mark that happened in a guest, as its message on the channel tells it.
struct GuestReading {
  std::int64_t guest_nanoseconds = 0;       // the guest's own CLOCK_MONOTONIC
  Instant arrived;                          // when the message reached the host
  std::chrono::nanoseconds error_bound{0};  // half of the least round trip of the clock ping-pong
};

/// Thread-safe. The first call for a mark wins: a mark happens once.
class Timeline {
 public:
  Timeline() = default;
  Timeline(const Timeline& other);
  Timeline& operator=(const Timeline&) = delete;

  void mark(Mark mark) { this->mark(mark, Instant::now()); }
  void mark(Mark mark, Instant at);
  /// A guest's mark: `at` is the guest's clock mapped to the host's by the offset of the ping-pong.
  void mark(Mark mark, Instant at, const GuestReading& reading);

  /// `process` as long as nobody says so.
  void take(Course course);
  /// A moment, with the bound of what a guest's clock told. The first call for a moment wins.
  void note(Moment moment, Instant at, std::optional<std::chrono::nanoseconds> error_bound = std::nullopt);
  /// Nobody saw it, and why: "the kernel is started unpacked".
  void not_seen(Moment moment, std::string reason);

  /// Called for each mark as it happens, on the thread that marks it, which may hold locks of its instance: it only wakes somebody.
  /// Set it before the first mark.
  void on_mark(std::function<void(Mark)> callback) { on_mark_ = std::move(callback); }

  std::optional<Instant> at(Mark mark) const;
  std::optional<GuestReading> guest(Mark mark) const;
  struct Sight {
    std::optional<Instant> at;
    std::optional<std::chrono::nanoseconds> error_bound;  // of a guest's clock
    std::string reason;                                   // why it was not seen; may be empty
  };
  Sight at(Moment moment) const;
  Course course() const;
  /// Seconds since `requested`; nothing when either mark is absent.
  std::optional<double> seconds(Mark mark) const;
  /// The first pair of marks that is out of order, "init before kernel", or nothing. A guest's marks may differ by their error bound.
  std::optional<std::string> disorder() const;

 private:
  mutable std::mutex mutex_;
  std::array<std::optional<Instant>, kMarkCount> marks_;
  std::array<std::optional<GuestReading>, kMarkCount> readings_;
  std::array<Sight, kMomentCount> moments_;
  Course course_ = Course::process;
  std::function<void(Mark)> on_mark_;
};

}  // namespace tare
