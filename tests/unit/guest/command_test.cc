// SPDX-License-Identifier: Apache-2.0
#include "guest/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace tare::guest {
namespace {

using testing::ElementsAre;

std::vector<std::string> list(char* const* strings) {
  std::vector<std::string> out;
  for (; *strings != nullptr; ++strings) out.emplace_back(*strings);
  return out;
}

class CommandTest : public testing::Test {
 protected:
  const std::unique_ptr<Command> command_ = std::make_unique<Command>();
};

TEST_F(CommandTest, IsWhatWasSaidAndForgetsIt) {
  command_->add_argument("sh");
  command_->add_argument("");
  command_->add_environment("A=b c");
  command_->set_program("/bin/sh");
  command_->set_directory("/tmp");
  command_->add_group({5});
  command_->add_limit({7, 1, 2});
  EXPECT_TRUE(command_->complete());
  EXPECT_THAT(list(command_->arguments()), ElementsAre("sh", ""));
  EXPECT_THAT(list(command_->environment()), ElementsAre("A=b c"));
  EXPECT_STREQ(command_->program(), "/bin/sh");
  EXPECT_STREQ(command_->directory(), "/tmp");
  EXPECT_THAT(command_->groups(), ElementsAre(5U));
  ASSERT_EQ(command_->limits().size(), 1U);
  EXPECT_EQ(command_->limits()[0].hard, 2U);
  command_->clear();
  EXPECT_FALSE(command_->complete());
  EXPECT_THAT(list(command_->arguments()), ElementsAre());
  EXPECT_EQ(command_->program(), nullptr);
  EXPECT_TRUE(command_->groups().empty());
  EXPECT_TRUE(command_->limits().empty());
}

TEST_F(CommandTest, WithoutAnArgumentIsNotOne) {
  command_->set_program("/bin/sh");
  EXPECT_FALSE(command_->complete());
}

TEST_F(CommandTest, WhatDoesNotFitMakesItIncompleteAndTheNextOneIsWhole) {
  const auto fills = [&](auto add) {
    command_->clear();
    command_->add_argument("program");
    for (int i = 0; i < 10'000 && command_->complete(); ++i) add();
    EXPECT_FALSE(command_->complete());
    command_->clear();
    command_->add_argument("next");
    EXPECT_TRUE(command_->complete());
  };
  const std::string large(kMaxPayload, 'x');
  fills([&] { command_->add_argument(large); });
  fills([&] { command_->add_environment(""); });
  fills([&] { command_->set_directory(large); });
  fills([&] { command_->add_group({1}); });
  fills([&] { command_->add_limit({}); });
}

}  // namespace
}  // namespace tare::guest
