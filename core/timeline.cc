// SPDX-License-Identifier: Apache-2.0
#include "core/timeline.h"

#include <utility>

namespace tare {
namespace {

constexpr std::array<std::string_view, kMarkCount> kNames = {"requested", "prepared",  "launched", "kernel", "init",   "executed",
                                                             "ready",     "responded", "stopping", "exited", "removed"};

constexpr std::array<std::string_view, kMomentCount> kMomentNames = {"spawned", "entered", "decompressed", "loading",
                                                                     "loaded",  "opened",  "rooted",       "identified"};

std::size_t index(Moment moment) { return static_cast<std::size_t>(moment); }
std::size_t index(Mark mark) { return static_cast<std::size_t>(mark); }

}  // namespace

std::string_view name(Mark mark) noexcept { return kNames[static_cast<std::size_t>(mark)]; }

std::string_view name(Moment moment) noexcept { return kMomentNames[static_cast<std::size_t>(moment)]; }

std::optional<Mark> mark_named(std::string_view word) noexcept {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == word) return static_cast<Mark>(i);
  }
  return std::nullopt;
}

Timeline::Timeline(const Timeline& other) {
  const std::scoped_lock lock(other.mutex_);
  marks_ = other.marks_;
  readings_ = other.readings_;
  moments_ = other.moments_;
  course_ = other.course_;
}

void Timeline::mark(Mark mark, Instant at) {
  {
    const std::scoped_lock lock(mutex_);
    if (marks_[index(mark)]) return;
    marks_[index(mark)] = at;
  }
  if (on_mark_) on_mark_(mark);
}

void Timeline::mark(Mark mark, Instant at, const GuestReading& reading) {
  {
    const std::scoped_lock lock(mutex_);
    if (marks_[index(mark)]) return;
    marks_[index(mark)] = at;
    readings_[index(mark)] = reading;
  }
  if (on_mark_) on_mark_(mark);
}

void Timeline::note(Moment moment, Instant at, std::optional<std::chrono::nanoseconds> error_bound) {
  const std::scoped_lock lock(mutex_);
  Sight& sight = moments_[index(moment)];
  if (!sight.at) sight = {at, error_bound, {}};
}

void Timeline::not_seen(Moment moment, std::string reason) {
  const std::scoped_lock lock(mutex_);
  Sight& sight = moments_[index(moment)];
  if (!sight.at) sight.reason = std::move(reason);
}

Timeline::Sight Timeline::at(Moment moment) const {
  const std::scoped_lock lock(mutex_);
  return moments_[index(moment)];
}

void Timeline::take(Course course) {
  const std::scoped_lock lock(mutex_);
  course_ = course;
}

Course Timeline::course() const {
  const std::scoped_lock lock(mutex_);
  return course_;
}

std::optional<Instant> Timeline::at(Mark mark) const {
  const std::scoped_lock lock(mutex_);
  return marks_[index(mark)];
}

std::optional<GuestReading> Timeline::guest(Mark mark) const {
  const std::scoped_lock lock(mutex_);
  return readings_[index(mark)];
}

std::optional<double> Timeline::seconds(Mark mark) const {
  const std::scoped_lock lock(mutex_);
  const auto& start = marks_[index(Mark::requested)];
  const auto& end = marks_[index(mark)];
  if (!start || !end) return std::nullopt;
  return std::chrono::duration<double>(*end - *start).count();
}

std::optional<std::string> Timeline::disorder() const {
  const std::scoped_lock lock(mutex_);
  std::optional<std::size_t> before;
  for (std::size_t i = 0; i < kMarkCount; ++i) {
    // An application can respond, exit and be asked to stop in any order; only the way up and the end are ordered.
    if (!marks_[i] || i == index(Mark::stopping)) continue;
    if (before) {
      auto slack = std::chrono::nanoseconds(0);
      if (readings_[i]) slack += readings_[i]->error_bound;
      if (readings_[*before]) slack += readings_[*before]->error_bound;
      if (*marks_[i] + slack < *marks_[*before]) {
        return std::string(kNames[i]) + " before " + std::string(kNames[*before]);
      }
    }
    before = i;
  }
  return std::nullopt;
}

}  // namespace tare
