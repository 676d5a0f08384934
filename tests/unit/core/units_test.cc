// SPDX-License-Identifier: Apache-2.0
#include "core/units.h"

#include <gtest/gtest.h>

#include <set>

#include "core/error.h"

namespace tare {
namespace {

TEST(Bytes, ReadsBinaryAndDecimalUnits) {
  EXPECT_EQ(parse_bytes("64MiB"), 64_MiB);
  EXPECT_EQ(parse_bytes("64M"), 64_MiB);
  EXPECT_EQ(parse_bytes("1GB").count, 1'000'000'000U);
  EXPECT_EQ(parse_bytes("1.5 GiB").count, 3ULL << 29U);
  EXPECT_EQ(parse_bytes("512k"), 512_KiB);
  EXPECT_EQ(parse_bytes("17").count, 17U);
  EXPECT_EQ(parse_bytes("0").count, 0U);
}

TEST(Bytes, RefusesWhatIsNoSizeAndSaysTheForm) {
  for (const char* text : {"1XB", "", "MiB", "-5MiB", "1e400", "1.2.3M", "99999999999999T", "nan", "inf", "0x10", "1 000"}) {
    try {
      parse_bytes(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::invalid);
      EXPECT_NE(error.sentence().find(text), std::string::npos);
      EXPECT_NE(error.hint().find("64MiB"), std::string::npos);
    }
  }
}

TEST(Duration, ReadsUnits) {
  using namespace std::chrono_literals;
  EXPECT_EQ(parse_duration("250ms"), 250ms);
  EXPECT_EQ(parse_duration("1.5m"), 90s);
  EXPECT_EQ(parse_duration("100us"), 100us);
  EXPECT_THROW(parse_duration("10"), Error);
  EXPECT_THROW(parse_duration("ten seconds"), Error);
}

TEST(Text, KeepsThreeDigits) {
  EXPECT_EQ(text_of(0_KiB), "0 B");
  EXPECT_EQ(text_of(Bytes{312 * 1024}), "312 KiB");
  EXPECT_EQ(text_of(Bytes{3ULL << 29U}), "1.50 GiB");
  EXPECT_EQ(text_of_seconds(0.0142), "14.2 ms");
  EXPECT_EQ(text_of_seconds(1.634), "1.63 s");
  EXPECT_EQ(text_of_seconds(0.000085), "85.0 µs");
  EXPECT_EQ(text_of_seconds(-0.002), "-2.00 ms");
}

TEST(IndexList, HasNumbersAndRanges) {
  EXPECT_EQ(parse_index_list("0"), (std::set<unsigned>{0}));
  EXPECT_EQ(parse_index_list("0-2,7,4-4"), (std::set<unsigned>{0, 1, 2, 4, 7}));
}

TEST(IndexList, RefusesWhatIsNoneAndSaysTheForm) {
  for (const char* text : {"", "a", "1-", "-1", "3-1", "0,", ",0", "0 1", "0--1", "1,2;3", "0-99999999", "99999999999", "0x1"}) {
    try {
      parse_index_list(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::invalid);
      EXPECT_NE(error.sentence().find(text), std::string::npos);
      EXPECT_NE(error.hint().find("0-3,7"), std::string::npos);
    }
  }
}

TEST(Deadline, NeverHasNoTimeoutAndThePastHasNone) {
  EXPECT_EQ(Deadline::never().poll_timeout(), -1);
  EXPECT_EQ(Deadline(Instant{0}).poll_timeout(), 0);
  EXPECT_TRUE(Deadline(Instant{0}).passed());
  const int half_second = Deadline::in(std::chrono::milliseconds(500)).poll_timeout();
  EXPECT_GT(half_second, 300);
  EXPECT_LE(half_second, 500);
}

}  // namespace
}  // namespace tare
