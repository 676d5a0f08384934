// SPDX-License-Identifier: Apache-2.0
// A log in files: who reads them, and who goes on writing them.
#include "core/log_tail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "core/files.h"
#include "core/log_files.h"
#include "core/log_writer.h"

namespace tare {
namespace {

using testing::HasSubstr;

class LogTailTest : public ::testing::Test {
 protected:
  void append(std::uint32_t stream, std::string_view text, std::uint32_t claimed) {
    const LogFrame frame{claimed, stream, 42};
    std::ofstream out(file, std::ios::app | std::ios::binary);
    out.write(reinterpret_cast<const char*>(&frame), sizeof frame);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    size += sizeof frame + text.size();
  }
  void append(std::uint32_t stream, std::string_view text) { append(stream, text, static_cast<std::uint32_t>(text.size())); }
  TempDir directory;
  std::string path = directory.path() / "log";
  std::string file = path + ".0";
  std::uint64_t size = 0;
  Log log;
};

TEST_F(LogTailTest, ReadsOnWhereItStopped) {
  LogTail tail(path);
  append(1, "one\ntw");
  tail.read_to(size, log);
  append(2, "err\n");
  append(1, "o\n");
  tail.read_to(size, log);
  EXPECT_EQ(log.text(Stream::out), "one\ntwo\n");
  EXPECT_EQ(log.text(Stream::err), "err\n");
  EXPECT_EQ(log.lines().front().at, Instant{42});
}

TEST_F(LogTailTest, HalfAFrameWaitsForItsRest) {
  LogTail tail(path);
  append(1, "whole\n");
  append(1, "half", 10);
  tail.read_to(size, log);
  EXPECT_EQ(log.text(Stream::out), "whole\n");
  EXPECT_LT(tail.position(), size);
}

TEST_F(LogTailTest, AHeadThatNoWriterWritesEndsIt) {
  LogTail tail(path);
  append(7, "x", 0x7fffffff);
  tail.read_to(size, log);
  tail.read_to(size, log);
  EXPECT_THAT(log.text(Stream::err), HasSubstr("damaged"));
  EXPECT_EQ(log.lines().size(), 1U);
}

TEST_F(LogTailTest, GoesOnInTheFileThatBeginsWhereTheLastOneEnded) {
  LogTail tail(path);
  append(1, "one\n");
  append(1, "half a ");
  tail.read_to(size, log);
  file = path + "." + std::to_string(size);
  append(1, "line\n");
  append(3, "a sentence\n");
  tail.read_to(size, log);
  EXPECT_EQ(log.text(Stream::out), "one\nhalf a line\n");
  EXPECT_EQ(log.text(Stream::err), "a sentence\n");
}

TEST_F(LogTailTest, SaysHowMuchIsNoLongerKept) {
  size = 1000;
  file = path + ".1000";
  append(1, "rest\n");
  LogTail tail(path);
  tail.read_to(size, log);
  EXPECT_EQ(log.text(Stream::out), "rest\n");
  EXPECT_THAT(log.text(Stream::err), HasSubstr("1000 bytes of the log are no longer kept"));
}

TEST_F(LogTailTest, AMissingFileIsNoErrorWhileNothingIsSaidToBeInIt) {
  LogTail tail(path);
  tail.read_to(0, log);
  EXPECT_TRUE(log.lines().empty());
}

class LogWriterTest : public ::testing::Test {
 protected:
  void write(LogWriter& writer, std::string_view text) {
    char buffer[sizeof(LogFrame) + 64];
    std::memcpy(buffer + sizeof(LogFrame), text.data(), text.size());
    writer.append(buffer, text.size(), 1, 42);
  }
  std::string read(std::uint64_t size) {
    Log log;
    LogTail(path).read_to(size, log);
    return log.text(Stream::out);
  }
  TempDir directory;
  std::string path = directory.path() / "log";
};

TEST_F(LogWriterTest, GoesOnWhereTheOneBeforeSaidThatItEnds) {
  LogWriter first(path, 0, 1);
  write(first, "one\n");
  const std::uint64_t told = first.size();
  write(first, "never told\n");
  LogWriter second(path, 0, 1, told);
  write(second, "two\n");
  EXPECT_EQ(read(second.size()), "one\ntwo\n");
}

TEST_F(LogWriterTest, GoesOnInTheNewestOfTheFilesThatCount) {
  LogWriter first(path, 40, 3);
  for (int i = 0; i < 5; ++i) write(first, "twenty bytes are one\n");
  const std::uint64_t told = first.size();
  for (int i = 0; i < 5; ++i) write(first, "and these do not count\n");
  const std::size_t before = log_files(path).size();
  LogWriter second(path, 40, 3, told);
  EXPECT_LE(log_files(path).size(), before);
  EXPECT_LE(log_files(path).back(), told);
  write(second, "last\n");
  EXPECT_THAT(read(second.size()), testing::EndsWith("one\nlast\n"));
}

}  // namespace
}  // namespace tare
