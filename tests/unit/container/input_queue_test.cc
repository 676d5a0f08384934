// SPDX-License-Identifier: Apache-2.0
#include "container/input_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <tuple>

#include "container/protocol.h"

namespace tare::container {
namespace {

class InputQueueTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);  // as in the launcher
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    reader = Fd(ends[0]);
    queue = InputQueue(Fd(ends[1]), false);
  }
  std::string read_all() const {
    std::string text;
    std::array<char, 65536> chunk{};
    for (ssize_t count = 0; (count = ::read(reader.get(), chunk.data(), chunk.size())) > 0;) {
      text.append(chunk.data(), static_cast<std::size_t>(count));
    }
    return text;
  }
  bool at_end() const {
    char byte = 0;
    return ::read(reader.get(), &byte, 1) == 0;
  }
  Fd reader;
  InputQueue queue;
};

TEST_F(InputQueueTest, WhatIsPushedIsReadAsItWasAndTheEndComesLast) {
  EXPECT_TRUE(queue.push(std::string("a\0b", 3), false));
  queue.write();
  EXPECT_EQ(read_all(), std::string("a\0b", 3));
  EXPECT_FALSE(at_end());
  EXPECT_TRUE(queue.push("rest", true));
  EXPECT_FALSE(queue.open());
  queue.write();
  EXPECT_EQ(read_all(), "rest");
  EXPECT_TRUE(at_end());
  EXPECT_EQ(queue.taken(), 7U);
}

TEST_F(InputQueueTest, AReaderThatTakesItsTimeHoldsNoMoreThanTheWindow) {
  const std::string much(kInputWindow, 'x');
  EXPECT_TRUE(queue.push(much, false));
  queue.write();
  EXPECT_TRUE(queue.waits());
  EXPECT_LT(queue.taken(), much.size());
  EXPECT_FALSE(queue.push(much, false));
  EXPECT_EQ(queue.received(), much.size());
  std::string read;
  while (queue.waits()) {
    read += read_all();
    queue.write();
  }
  EXPECT_EQ(read + read_all(), much);
  EXPECT_EQ(queue.taken(), much.size());
  EXPECT_EQ(queue.room(), kInputWindow);
}

TEST_F(InputQueueTest, TheEndWaitsForWhatWasPushedBefore) {
  const std::string much(kInputWindow, 'x');
  EXPECT_TRUE(queue.push(much, true));
  queue.write();
  std::string read = read_all();
  while (queue.waits()) {
    queue.write();
    read += read_all();
  }
  EXPECT_EQ(read, much);
  EXPECT_TRUE(at_end());
}

TEST_F(InputQueueTest, WhatNobodyReadsAnyMoreIsDroppedAndCountsAsTaken) {
  reader.reset();
  EXPECT_TRUE(queue.push("lost", false));
  queue.write();
  EXPECT_FALSE(queue.open());
  EXPECT_FALSE(queue.waits());
  EXPECT_EQ(queue.taken(), 4U);
  EXPECT_TRUE(queue.push(std::string(kInputWindow, 'x'), false));
  EXPECT_EQ(queue.taken(), queue.received());
}

TEST(InputQueue, OneThatWasNeverOpenedDropsEverything) {
  InputQueue queue;
  EXPECT_TRUE(queue.push("x", false));
  queue.write();
  EXPECT_FALSE(queue.open());
  EXPECT_FALSE(queue.waits());
  EXPECT_EQ(queue.fd(), -1);
}

class TerminalInputTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::openpty(&ends[0], &ends[1], nullptr, nullptr, nullptr), 0);
    slave = Fd(ends[1]);
    queue = InputQueue(Fd(ends[0]), true);
  }
  std::string read_once() const {
    std::array<char, 256> chunk{};
    const ssize_t count = ::read(slave.get(), chunk.data(), chunk.size());
    return {chunk.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
  }
  Fd slave;
  InputQueue queue;
};

TEST_F(TerminalInputTest, TheEndIsTypedAndTheTerminalStays) {
  EXPECT_TRUE(queue.push("line\n", true));
  queue.write();
  EXPECT_EQ(read_once(), "line\n");
  EXPECT_EQ(read_once(), "");  // the end
  EXPECT_TRUE(queue.open());
  EXPECT_TRUE(queue.push("more\n", false));
  queue.write();
  EXPECT_EQ(read_once(), "more\n");
}

TEST_F(TerminalInputTest, AfterAnUnfinishedLineTheEndIsStillTheEnd) {
  EXPECT_TRUE(queue.push("half", true));
  queue.write();
  EXPECT_EQ(read_once(), "half");
  EXPECT_EQ(read_once(), "");
}

TEST_F(TerminalInputTest, AProgramThatReadsKeysItselfGetsTheKey) {
  termios raw{};
  ASSERT_EQ(::tcgetattr(slave.get(), &raw), 0);
  ::cfmakeraw(&raw);
  ASSERT_EQ(::tcsetattr(slave.get(), TCSANOW, &raw), 0);
  EXPECT_TRUE(queue.push("x", true));
  queue.write();
  EXPECT_TRUE(queue.push("y", false));
  queue.write();
  EXPECT_EQ(read_once(), "x\x04y");
}

}  // namespace
}  // namespace tare::container
