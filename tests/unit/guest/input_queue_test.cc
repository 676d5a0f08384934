// SPDX-License-Identifier: Apache-2.0
#include "guest/input_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

namespace tare::guest {
namespace {

class GuestInputQueue : public testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);  // as in tare-init
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    reader_ = ends[0];
    queue_.begin(ends[1], false, buffer());
  }
  void TearDown() override {
    queue_.close();
    if (reader_ >= 0) ::close(reader_);
  }
  std::span<char, InputQueue::kCapacity> buffer() { return std::span<char, InputQueue::kCapacity>(buffer_); }
  std::string read_all() const {
    std::string text(2 * kInputWindow, '\0');
    std::size_t size = 0;
    for (ssize_t count = 0; (count = ::read(reader_, text.data() + size, text.size() - size)) > 0;) size += static_cast<std::size_t>(count);
    text.resize(size);
    return text;
  }
  std::vector<char> buffer_ = std::vector<char>(InputQueue::kCapacity);
  InputQueue queue_;
  int reader_ = -1;
};

TEST_F(GuestInputQueue, WhatIsPushedIsReadAsItWasAndTheEndComesLast) {
  EXPECT_TRUE(queue_.push(std::string("a\0b", 3)));
  queue_.write();
  EXPECT_EQ(read_all(), std::string("a\0b", 3));
  EXPECT_EQ(queue_.taken(), 3U);
  EXPECT_TRUE(queue_.push("rest"));
  queue_.end();
  EXPECT_FALSE(queue_.open());
  EXPECT_TRUE(queue_.waits());
  queue_.write();
  EXPECT_EQ(read_all(), "rest");
  EXPECT_FALSE(queue_.waits());
  char byte = 0;
  EXPECT_EQ(::read(reader_, &byte, 1), 0);  // the end
}

TEST_F(GuestInputQueue, MoreThanTheWindowIsRefusedAndWhatIsTakenMakesRoom) {
  EXPECT_TRUE(queue_.push(std::string(kInputWindow, 'x')));
  EXPECT_FALSE(queue_.push("more than its end-of-file characters"));
  queue_.write();  // a pipe holds as much
  EXPECT_EQ(queue_.taken(), kInputWindow);
  EXPECT_TRUE(queue_.push(std::string(kInputWindow, 'y')));
  queue_.write();
  EXPECT_EQ(queue_.taken(), kInputWindow);
  EXPECT_TRUE(queue_.waits());
  EXPECT_EQ(read_all().size(), kInputWindow);
  queue_.write();
  EXPECT_EQ(read_all(), std::string(kInputWindow, 'y'));
}

TEST_F(GuestInputQueue, WithoutAReaderWhatComesIsDropped) {
  ::close(std::exchange(reader_, -1));
  EXPECT_TRUE(queue_.push("nobody reads it"));
  queue_.write();
  EXPECT_FALSE(queue_.open());
  EXPECT_FALSE(queue_.waits());
  EXPECT_TRUE(queue_.push("nor this"));
  EXPECT_EQ(queue_.taken(), 23U);
}

TEST_F(GuestInputQueue, ATerminalTypesItsEndAndIsTypedOn) {
  int master = -1;
  int slave = -1;
  ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  ::fcntl(master, F_SETFL, O_NONBLOCK);
  queue_.begin(master, true, buffer());
  const auto line = [&] {
    char text[64];
    const ssize_t count = ::read(slave, text, sizeof text);
    return count < 0 ? "failed" : std::string(text, static_cast<std::size_t>(count));
  };
  EXPECT_TRUE(queue_.push("half a line"));
  queue_.end();
  queue_.write();
  EXPECT_EQ(line(), "half a line");
  EXPECT_EQ(line(), "");  // its end
  EXPECT_TRUE(queue_.open());
  EXPECT_TRUE(queue_.push("whole\n"));
  queue_.end();
  queue_.write();
  EXPECT_EQ(line(), "whole\n");
  EXPECT_EQ(line(), "");
  EXPECT_EQ(queue_.taken(), 17U);
  ::close(slave);
}

}  // namespace
}  // namespace tare::guest
