// SPDX-License-Identifier: Apache-2.0
#include "core/timeline.h"

#include <gtest/gtest.h>

namespace tare {
namespace {

constexpr Instant at_ms(std::int64_t ms) { return {1'000'000'000 + ms * 1'000'000}; }

TEST(Timeline, AMarkHappensOnceAndTheFirstTimeCounts) {
  Timeline timeline;
  timeline.mark(Mark::requested, at_ms(0));
  timeline.mark(Mark::executed, at_ms(3));
  timeline.mark(Mark::executed, at_ms(9));
  EXPECT_DOUBLE_EQ(timeline.seconds(Mark::executed).value(), 0.003);
}

TEST(Timeline, AMissingMarkIsAbsentNotZero) {
  Timeline timeline;
  timeline.mark(Mark::requested, at_ms(0));
  EXPECT_FALSE(timeline.seconds(Mark::kernel).has_value());
  EXPECT_FALSE(timeline.at(Mark::kernel).has_value());
}

TEST(Timeline, FindsMarksThatAreOutOfOrder) {
  Timeline timeline;
  timeline.mark(Mark::requested, at_ms(0));
  timeline.mark(Mark::executed, at_ms(5));
  timeline.mark(Mark::ready, at_ms(4));
  EXPECT_EQ(timeline.disorder(), "ready before executed");
}

TEST(Timeline, AGuestMarkMayBeEarlyByItsErrorBound) {
  Timeline timeline;
  timeline.mark(Mark::requested, at_ms(0));
  timeline.mark(Mark::launched, at_ms(10));
  timeline.mark(Mark::kernel, at_ms(9), GuestReading{0, at_ms(30), std::chrono::milliseconds(2)});
  EXPECT_EQ(timeline.disorder(), std::nullopt);
  Timeline too_early;
  too_early.mark(Mark::launched, at_ms(10));
  too_early.mark(Mark::kernel, at_ms(7), GuestReading{0, at_ms(30), std::chrono::milliseconds(2)});
  EXPECT_EQ(too_early.disorder(), "kernel before launched");
}

TEST(Timeline, EveryMarkHasANameThatReadsBack) {
  for (std::size_t i = 0; i < kMarkCount; ++i) {
    const Mark mark = static_cast<Mark>(i);
    EXPECT_EQ(mark_named(name(mark)), mark);
  }
  EXPECT_FALSE(mark_named("booted").has_value());
}

TEST(Timeline, TellsOfEachMarkOnce) {
  Timeline timeline;
  std::vector<Mark> told;
  timeline.on_mark([&](Mark mark) { told.push_back(mark); });
  timeline.mark(Mark::requested);
  timeline.mark(Mark::exited);
  timeline.mark(Mark::exited);
  EXPECT_EQ(told, (std::vector<Mark>{Mark::requested, Mark::exited}));
}

}  // namespace
}  // namespace tare
