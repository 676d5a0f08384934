// SPDX-License-Identifier: Apache-2.0
#include "core/bytes.h"

#include <gtest/gtest.h>

namespace tare {
namespace {

TEST(Bytes, AreTwoDigitsEach) {
  EXPECT_EQ(hex_of(std::string_view("\0\x0f\xa0\xff", 4)), "000fa0ff");
  EXPECT_EQ(hex_of(""), "");
}

TEST(Bytes, OfTheKernelsGeneratorAreNotTheSameTwice) {
  EXPECT_EQ(random_bytes(32).size(), 32U);
  EXPECT_NE(random_bytes(32), random_bytes(32));
}

}  // namespace
}  // namespace tare
