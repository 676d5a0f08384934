// SPDX-License-Identifier: Apache-2.0
#include "core/words.h"

#include <gtest/gtest.h>

namespace tare {
namespace {

TEST(Words, TheNearestIsOneSlipAway) {
  EXPECT_EQ(nearest_word("trails", {"trials", "timeout"}), "trials");
  EXPECT_EQ(nearest_word("timeuot", {"trials", "timeout"}), "timeout");
  EXPECT_EQ(nearest_word("xyz", {"trials", "timeout"}), "");
  EXPECT_EQ(nearest_word("", {"a"}), "");
  EXPECT_EQ(nearest_word(std::string(100000, 'a'), {"a"}), "");
}

TEST(Words, ListsReadAsSentences) {
  EXPECT_EQ(listed({}), "");
  EXPECT_EQ(listed({"a"}), "a");
  EXPECT_EQ(listed({"a", "b", "c"}, "or"), "a, b or c");
}

}  // namespace
}  // namespace tare
