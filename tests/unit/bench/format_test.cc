// SPDX-License-Identifier: Apache-2.0
#include "bench/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tare::bench {
namespace {

TEST(Format, ValuesHaveThreeDigitsInTheirOwnScale) {
  EXPECT_EQ(value_text(0.01423, "s"), "14.2 ms");
  EXPECT_EQ(value_text(1.6349, "s"), "1.63 s");
  EXPECT_EQ(value_text(0.9996, "s"), "1.00 s") << "never 1000 ms";
  EXPECT_EQ(value_text(0.0000421, "s"), "42.1 µs");
  EXPECT_EQ(value_text(0, "s"), "0 s");
  EXPECT_EQ(value_text(-0.0021, "s"), "-2.10 ms");
  EXPECT_EQ(value_text(1610612736, "bytes"), "1.50 GiB");
  EXPECT_EQ(value_text(512, "bytes"), "512 B");
  EXPECT_EQ(value_text(71.5, "ns/op"), "71.5 ns/op");
  EXPECT_EQ(value_text(71500, "ns/op"), "71.5 µs/op");
  EXPECT_EQ(value_text(1204, "1"), "1204");
  EXPECT_EQ(value_text(2.5, "1"), "2.50");
}

TEST(Format, AnIntervalUsesTheScaleOfItsValue) {
  EXPECT_EQ(interval_text(0.0142, 0.0009, 1.2, "s"), "[0.9, 1200.0]");
  EXPECT_EQ(interval_text(0.0142, 0.0139, 0.0148, "s"), "[13.9, 14.8]");
}

TEST(Format, RatiosShowWhatIsNearOne) {
  EXPECT_EQ(ratio_text(1.5), "×1.50");
  EXPECT_EQ(ratio_text(0.998), "×0.998");
  EXPECT_EQ(ratio_text(43.06), "×43.1");
  EXPECT_EQ(ratio_interval_text(1.5, 1.404, 1.6), "[1.40, 1.60]");
}

TEST(Format, ColumnsAreCharactersAndNotBytes) {
  EXPECT_EQ(columns("×µ–a"), 4U);
  EXPECT_EQ(padded("µs", 4), "µs  ");
  EXPECT_EQ(padded("µs", 4, true), "  µs");
  EXPECT_EQ(padded("longer", 4), "longer");
}

TEST(Format, LinesAreBrokenAtSpaces) {
  EXPECT_THAT(wrapped("one two three", 7), testing::ElementsAre("one two", "three"));
  EXPECT_THAT(wrapped("averylongword b", 4), testing::ElementsAre("averylongword", "b"));
  EXPECT_THAT(wrapped("", 4), testing::ElementsAre(""));
}

}  // namespace
}  // namespace tare::bench
