// SPDX-License-Identifier: Apache-2.0
#include "core/kept_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/files.h"
#include "core/log_files.h"

namespace tare {
namespace {

class KeptLogTest : public ::testing::Test {
 protected:
  void begin_file() { file_ = path_ + "." + std::to_string(end_.size); }
  void append(std::uint32_t stream, const std::string& text) {
    const LogFrame frame{static_cast<std::uint32_t>(text.size()), stream, 42};
    std::ofstream out(file_, std::ios::app | std::ios::binary);
    out.write(reinterpret_cast<const char*>(&frame), sizeof frame);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    end_.size += sizeof frame + text.size();
  }
  KeptLog open(std::optional<std::uint64_t> lines = {}) {
    return KeptLog(
        path_, [this] { return end_; }, lines);
  }
  static std::string rest(KeptLog& log) {
    std::string text;
    for (auto pieces = log.read(); !pieces.empty(); pieces = log.read()) {
      for (const LogPiece& piece : pieces) text += piece.bytes;
    }
    return text;
  }
  TempDir directory_;
  std::string path_ = directory_.path() / "log";
  std::string file_ = path_ + ".0";
  KeptLog::End end_;
};

TEST_F(KeptLogTest, TheOldestFileComesFirstAndReadingGoesOn) {
  append(1, "one\nhalf");
  begin_file();
  append(1, " a line\n");
  KeptLog log = open();
  EXPECT_EQ(rest(log), "one\nhalf a line\n");
  append(2, "later");
  EXPECT_EQ(rest(log), "later");
  end_.closed = true;
  EXPECT_EQ(rest(log), "");
}

TEST_F(KeptLogTest, TheLastLinesAreCountedOverAllFiles) {
  for (int i = 0; i < 30; ++i) {
    if (i % 10 == 0) begin_file();
    append(1, "line " + std::to_string(i) + "\n");
  }
  KeptLog five = open(5);
  EXPECT_EQ(rest(five), "line 25\nline 26\nline 27\nline 28\nline 29\n");
  append(1, "and on\n");
  EXPECT_EQ(rest(five), "and on\n");
  KeptLog all = open(1000);
  EXPECT_TRUE(rest(all).starts_with("line 0\n"));
  KeptLog none = open(0);
  EXPECT_EQ(rest(none), "");
}

TEST_F(KeptLogTest, AFrameOfNothingButNewlinesLosesNone) {
  append(1, std::string(32 * 1024, '\n'));
  KeptLog log = open();
  EXPECT_EQ(rest(log).size(), 32U * 1024);
}

TEST_F(KeptLogTest, MoreThanAMemoryHoldsIsReadWhole) {
  std::string all;
  for (int i = 0; i < 600; ++i) {
    if (i % 100 == 0) begin_file();
    append(1, std::string(30'000, static_cast<char>('a' + i % 26)) + "\n");
    all += std::string(30'000, static_cast<char>('a' + i % 26)) + "\n";
  }
  KeptLog log = open();
  EXPECT_TRUE(rest(log) == all);
}

}  // namespace
}  // namespace tare
