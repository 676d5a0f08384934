// SPDX-License-Identifier: Apache-2.0
// A reader that the writer waits for.
#include <gtest/gtest.h>

#include "core/log.h"

namespace tare {
namespace {

std::string drain(const Log& log, LogCursor& cursor) {
  std::string text;
  for (auto pieces = log.read(cursor); !pieces.empty(); pieces = log.read(cursor)) {
    for (const LogPiece& piece : pieces) text += piece.bytes;
  }
  return text;
}

TEST(LogFollow, NothingIsDroppedBeforeTheFollowerHasReadIt) {
  Log log(1_KiB);
  int told = 0;
  log.on_read([&] { ++told; });
  EXPECT_FALSE(log.unread());
  log.follow();
  LogCursor cursor;
  cursor.follows = true;
  std::string written;
  for (int i = 0; i < 1000; ++i) {
    log.append(Stream::out, std::to_string(i) + "\n", Instant{i});
    written += std::to_string(i) + "\n";
  }
  EXPECT_GT(log.unread()->count, Bytes(1_KiB).count);
  EXPECT_EQ(drain(log, cursor), written);
  EXPECT_EQ(cursor.lost, 0U);
  EXPECT_EQ(log.unread(), Bytes{0});
  EXPECT_GT(told, 0);
  log.append(Stream::out, "next\n", Instant{1000});
  EXPECT_GT(log.dropped(), 900U);  // what is read may go
}

TEST(LogFollow, OtherReadersDoNotCount) {
  Log log(1_KiB);
  log.follow();
  LogCursor other;
  log.append(Stream::out, "x\n", Instant{1});
  drain(log, other);
  EXPECT_GT(log.unread()->count, 0U);
}

TEST(LogFollow, ThereIsOneFollowerAndAfterItNothingWaits) {
  Log log(1_KiB);
  int told = 0;
  log.on_read([&] { ++told; });
  EXPECT_TRUE(log.follow());
  EXPECT_FALSE(log.follow());
  for (int i = 0; i < 100; ++i) log.append(Stream::out, std::string(100, 'x') + "\n", Instant{1});
  EXPECT_GT(log.unread().value().count, 10'000U);
  EXPECT_EQ(log.dropped(), 0U);
  log.unfollow();
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(log.unread());
  log.append(Stream::out, "y\n", Instant{2});
  EXPECT_GT(log.dropped(), 0U);
  EXPECT_TRUE(log.follow());
}

}  // namespace
}  // namespace tare
