// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <gtest/gtest.h>

#include <thread>

namespace tare {
namespace {

TEST(Log, JoinsPiecesIntoLinesPerStream) {
  Log log;
  log.append(Stream::out, "hel", Instant{1});
  log.append(Stream::err, "oops\n", Instant{2});
  log.append(Stream::out, "lo\nwor", Instant{3});
  log.append(Stream::out, "ld", Instant{4});
  log.close();
  const auto lines = log.lines();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].text, "oops");
  EXPECT_EQ(lines[1].text, "hello");
  EXPECT_EQ(lines[1].at.nanoseconds, 3);
  EXPECT_EQ(lines[2].text, "world");
  EXPECT_EQ(log.text(Stream::out), "hello\nworld\n");
}

TEST(Log, KeepsEmptyLinesAndSplitsEndlessOnes) {
  Log log;
  log.append(Stream::out, "\n\n", Instant{1});
  log.append(Stream::out, std::string(200'000, 'x'), Instant{2});
  log.close();
  const auto lines = log.lines();
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0].text, "");
  EXPECT_EQ(lines[2].text.size(), 64U * 1024);
  EXPECT_EQ(lines[5].text.size(), 200'000U - 3 * 64 * 1024);
}

TEST(Log, DropsTheOldestWhenFullAndCountsThem) {
  Log log(4_KiB);
  for (int i = 0; i < 1000; ++i) log.append(Stream::out, std::to_string(i) + "\n", Instant{i});
  EXPECT_GT(log.dropped(), 0U);
  const auto lines = log.lines();
  EXPECT_EQ(lines.back().text, "999");
  EXPECT_EQ(lines.front().number, log.dropped());
  EXPECT_EQ(log.lines(998).size(), 2U);
  EXPECT_TRUE(log.lines(5000).empty());
}

TEST(Log, WakesWhoWaitsForALineAndWhoWaitsForTheEnd) {
  Log log;
  std::jthread writer([&] {
    log.append(Stream::out, "one\n", Instant::now());
    log.close();
  });
  EXPECT_TRUE(log.wait_for_line(0, Deadline::in(std::chrono::seconds(10))));
  EXPECT_TRUE(log.wait_closed(Deadline::in(std::chrono::seconds(10))));
  EXPECT_FALSE(Log().wait_for_line(0, Deadline::in(std::chrono::milliseconds(5))));
}

TEST(Log, CallsBackForEachLineOutsideTheLock) {
  Log log;
  std::vector<std::string> seen;
  log.on_line([&](const LogLine& line) {
    seen.push_back(line.text);
    EXPECT_FALSE(log.lines().empty());  // would deadlock under the lock
  });
  log.append(Stream::err, "a\nb\nc", Instant{1});
  log.close();
  EXPECT_EQ(seen, (std::vector<std::string>{"a", "b", "c"}));
}

std::string bytes_of(const std::vector<LogPiece>& pieces, Stream stream) {
  std::string text;
  for (const LogPiece& piece : pieces) text += piece.stream == stream ? piece.bytes : "";
  return text;
}

TEST(Log, PiecesAreTheBytesThatWereWrittenHoweverTheyAreRead) {
  Log log;
  LogCursor cursor;
  std::string out;
  std::string err;
  const auto read = [&] {
    const auto pieces = log.read(cursor);
    out += bytes_of(pieces, Stream::out);
    err += bytes_of(pieces, Stream::err);
  };
  log.append(Stream::out, "pro", Instant{1});
  read();
  EXPECT_EQ(out, "pro");
  log.append(Stream::err, "x\ny", Instant{2});
  log.append(Stream::out, "mpt> ", Instant{3});
  read();
  EXPECT_EQ(out, "prompt> ");
  log.append(Stream::out, "a\n\nb", Instant{4});
  read();
  log.close();
  read();
  EXPECT_EQ(out, "prompt> a\n\nb");
  EXPECT_EQ(err, "x\ny");
  EXPECT_TRUE(log.read(cursor).empty());
}

TEST(Log, ALateReaderGetsTheSameBytesAndKnowsWhereLinesBegin) {
  Log log;
  log.append(Stream::out, std::string(100'000, 'a') + "\nlast", Instant{7});
  LogCursor cursor;
  std::vector<LogPiece> all;
  for (auto pieces = log.read(cursor); !pieces.empty(); pieces = log.read(cursor)) all.insert(all.end(), pieces.begin(), pieces.end());
  EXPECT_EQ(bytes_of(all, Stream::out), std::string(100'000, 'a') + "\nlast");
  EXPECT_TRUE(all.front().begins);
  EXPECT_EQ(all.back().at, Instant{7});
}

TEST(Log, AReaderThatWasTooSlowIsToldHowManyLinesItMissed) {
  Log log(1_KiB);
  LogCursor cursor;
  for (int i = 0; i < 1000; ++i) log.append(Stream::out, std::to_string(i) + "\n", Instant{i});
  const std::string text = bytes_of(log.read(cursor), Stream::out);
  EXPECT_GT(cursor.lost, 0U);
  EXPECT_EQ(text.substr(0, text.find('\n')), std::to_string(cursor.lost));
  EXPECT_EQ(log.number_since(Instant{998}), 998U);
  EXPECT_EQ(log.next_number(), 1000U);
}

TEST(Log, WatchersAreWokenUntilTheyLeave) {
  Log log;
  int woken = 0;
  const auto watcher = log.watch([&] { ++woken; });
  log.append(Stream::out, "no newline", Instant{1});
  EXPECT_EQ(woken, 1);
  log.close();
  EXPECT_EQ(woken, 2);
  log.unwatch(watcher);
  log.append(Stream::out, "late", Instant{2});
  EXPECT_EQ(woken, 2);
}

}  // namespace
}  // namespace tare
