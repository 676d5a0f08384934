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

  /// Called for each mark as it happens, on the thread that marks it, which may hold locks of its instance: it only wakes somebody.
  /// Set it before the first mark.
  void on_mark(std::function<void(Mark)> callback) { on_mark_ = std::move(callback); }

  std::optional<Instant> at(Mark mark) const;
  std::optional<GuestReading> guest(Mark mark) const;
  /// Seconds since `requested`; nothing when either mark is absent.
  std::optional<double> seconds(Mark mark) const;
  /// The first pair of marks that is out of order, "init before kernel", or nothing. A guest's marks may differ by their error bound.
  std::optional<std::string> disorder() const;

 private:
  mutable std::mutex mutex_;
  std::array<std::optional<Instant>, kMarkCount> marks_;
  std::array<std::optional<GuestReading>, kMarkCount> readings_;
  std::function<void(Mark)> on_mark_;
};

}  // namespace tare
