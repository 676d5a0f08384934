// SPDX-License-Identifier: Apache-2.0
// What an agent that died had not read.
#include "guest/retained.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>

namespace tare::guest {
namespace {

class RetainedTest : public testing::Test {
 protected:
  /// All that waits, as "<stream><bytes>" for each change of stream.
  std::string send(std::size_t piece = 32 * 1024) {
    std::string text;
    std::uint8_t stream = 0;
    while (retained->waits()) {
      const Retained::Piece next = retained->next(piece);
      EXPECT_FALSE(next.bytes.empty());
      if (next.bytes.empty()) break;
      if (next.stream != stream) text += std::to_string(next.stream);
      stream = next.stream;
      text += next.bytes;
      retained->sent(next.bytes.size());
    }
    return text;
  }
  std::unique_ptr<Retained> retained = std::make_unique<Retained>();
};

TEST_F(RetainedTest, SendsInTheOrderInWhichItCame) {
  EXPECT_FALSE(retained->waits());
  retained->add(1, "out ");
  retained->add(1, "more");
  retained->add(2, "err");
  retained->add(1, "end");
  EXPECT_EQ(send(3), "1out more2err1end");
  EXPECT_EQ(retained->next(10).bytes, "");
}

TEST_F(RetainedTest, GivesAgainWhatWasNotAcknowledged) {
  retained->add(1, "abc");
  retained->add(2, "defg");
  send();
  retained->acknowledge(2);
  EXPECT_EQ(retained->rewind(2), 2U);
  EXPECT_EQ(send(), "1c2defg");
  EXPECT_EQ(retained->rewind(5), 5U);
  retained->add(1, "h");
  EXPECT_EQ(send(), "2fg1h");
  EXPECT_EQ(retained->rewind(8), 8U);
  EXPECT_FALSE(retained->waits());
}

TEST_F(RetainedTest, SaysWhereItBeginsWhenMoreIsAskedFor) {
  retained->add(1, "abcdef");
  send();
  retained->acknowledge(4);
  EXPECT_EQ(retained->rewind(1), 4U);
  EXPECT_EQ(send(), "1ef");
}

TEST_F(RetainedTest, AcknowledgesNoMoreThanWasSent) {
  retained->add(1, "abcdef");
  retained->acknowledge(100);
  EXPECT_EQ(send(), "1abcdef");
}

TEST_F(RetainedTest, WhatIsNotSentIsNeverForgotten) {
  const std::string block(Retained::kCapacity, 'x');
  retained->add(1, block);
  EXPECT_EQ(retained->room(), 0U);
  retained->sent(1000);
  EXPECT_EQ(retained->room(), 1000U);
  retained->add(2, std::string(1000, 'y'));
  EXPECT_EQ(send(), "1" + block.substr(1000) + "2" + std::string(1000, 'y'));
  EXPECT_EQ(retained->rewind(0), 1000U);
}

TEST_F(RetainedTest, ManyChangesOfStreamHoldBackUntilTheyAreSent) {
  std::string text;
  for (std::size_t i = 0; i < Retained::kMostRuns; ++i) {
    ASSERT_GT(retained->room(), 0U);
    retained->add(i % 2 == 0 ? 1 : 2, "x");
  }
  EXPECT_EQ(retained->room(), 0U);
  retained->sent(1);
  EXPECT_GT(retained->room(), 0U);
  retained->add(1, "y");
  retained->sent(Retained::kMostRuns - 1);
  EXPECT_EQ(send(), "1y");
  EXPECT_EQ(retained->rewind(0), 1U);
}

// Against a plain string, with all that was ever written.
TEST_F(RetainedTest, AHundredThousandRandomStepsLoseNothing) {
  std::minstd_rand random(7);
  std::string all, streams;  // of each byte
  std::uint64_t acknowledged = 0, sent = 0, forgotten = 0;
  for (int step = 0; step < 100'000; ++step) {
    switch (random() % 8) {
      case 0: {
        acknowledged = std::max<std::uint64_t>(acknowledged, sent - random() % (sent - acknowledged + 1));
        retained->acknowledge(acknowledged);
        break;
      }
      case 1: {
        if (random() % 50 != 0) break;
        const std::uint64_t begin = retained->rewind(acknowledged);
        ASSERT_EQ(begin, std::max(acknowledged, forgotten));
        sent = begin;
        break;
      }
      case 2:
      case 3: {
        const std::string bytes(std::min<std::size_t>(random() % 4000, retained->room()), static_cast<char>('a' + random() % 26));
        const std::uint8_t stream = random() % 2 + 1;
        retained->add(stream, bytes);
        all += bytes;
        streams.append(bytes.size(), static_cast<char>(stream));
        if (all.size() > Retained::kCapacity) forgotten = std::max<std::uint64_t>(forgotten, all.size() - Retained::kCapacity);
        break;
      }
      default: {
        const Retained::Piece piece = retained->next(random() % 2000 + 1);
        ASSERT_EQ(piece.bytes.empty(), sent == all.size());
        ASSERT_EQ(piece.bytes, std::string_view(all).substr(sent, piece.bytes.size()));
        for (std::size_t i = 0; i < piece.bytes.size(); ++i) ASSERT_EQ(streams[sent + i], static_cast<char>(piece.stream));
        retained->sent(piece.bytes.size());
        sent += piece.bytes.size();
      }
    }
  }
  EXPECT_GT(all.size(), 10 * Retained::kCapacity);
}

}  // namespace
}  // namespace tare::guest
