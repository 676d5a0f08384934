// SPDX-License-Identifier: Apache-2.0
// The host's end of the channel, against a socket that reads when the test says so.
#include "vm/channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "core/error.h"
#include "core/files.h"

namespace tare::vm {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class ChannelTest : public testing::Test {
 protected:
  ChannelTest() : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw_errno("bind");
    if (::listen(listener_.get(), 1) != 0) throw_errno("listen");
    channel_ = std::make_unique<Channel>(path_, Channel::Callbacks{[](const guest::Frame&, Instant) {}, [](const std::string&) {}});
    guest_ = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }

  /// Reads as the guest does and gives the texts of `argument` frames and, for each start, the word "start".
  std::vector<std::string> read_all(std::size_t frames) {
    std::vector<char> buffer(guest::kMaxFrame);
    guest::Parser parser(buffer);
    std::vector<std::string> texts;
    while (texts.size() < frames) {
      const auto room = parser.room();
      const ssize_t count = ::read(guest_.get(), room.data(), room.size());
      if (count <= 0) break;
      parser.filled(static_cast<std::size_t>(count));
      guest::Frame frame;
      guest::Parser::Result result;
      while ((result = parser.next(frame)) == guest::Parser::Result::frame) {
        texts.emplace_back(frame.type == guest::Type::start ? "start" : std::string(frame.payload));
      }
      if (result == guest::Parser::Result::corrupt) texts.emplace_back("corrupt");
    }
    return texts;
  }

  const TempDir directory_;
  const std::string path_ = directory_.path() / "channel";
  Fd listener_;
  std::unique_ptr<Channel> channel_;
  Fd guest_;
};

TEST_F(ChannelTest, AGuestThatDoesNotReadIsGivenUpAtTheDeadlineAndReadsItAllLater) {
  const std::string text(100'000, 'x');
  for (int i = 0; i < 20; ++i) channel_->queue_text(guest::Type::argument, text);  // far more than the socket holds
  try {
    channel_->flush(Deadline::in(50ms));
    FAIL() << "2 MB fit into the socket";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::timeout);
    EXPECT_THAT(error.sentence(), HasSubstr("did not read"));
  }
  channel_->post(guest::Start{});  // waits behind what is queued, and does not block
  channel_->listen();
  std::thread sender([&] { channel_->flush(Deadline::in(10s)); });
  const auto texts = read_all(21);
  sender.join();
  ASSERT_EQ(texts.size(), 21U);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(texts[static_cast<std::size_t>(i)], text) << i;
  EXPECT_EQ(texts[20], "start");
}

TEST_F(ChannelTest, AGuestThatHangsCostsNoMoreThanItsQueue) {
  const std::string text(100'000, 'x');
  const auto fill = [&] {
    for (int i = 0; i < 200; ++i) channel_->queue_text(guest::Type::argument, text);
  };
  try {
    fill();
    FAIL() << "20 MB were queued";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::exhausted);
  }
}

TEST_F(ChannelTest, AGuestThatIsGoneFailsASendAndNotAPost) {
  guest_.reset();
  EXPECT_NO_THROW(channel_->post(guest::Start{}));
  EXPECT_THROW(channel_->send(guest::Start{}), Error);
}

TEST(ClockMap, TrustsTheExchangeWithTheLeastRoundTrip) {
  ClockMap clock;
  clock.add(Instant{1000}, 100, Instant{3000});   // offset 1900 ± 1000
  clock.add(Instant{5000}, 3100, Instant{5200});  // offset 2000 ± 100
  clock.add(Instant{9000}, 100, Instant{9900});   // worse again
  EXPECT_EQ(clock.exchanges(), 3);
  EXPECT_EQ(clock.error_bound().count(), 100);
  EXPECT_EQ(clock.host(3100), Instant{5100});
  EXPECT_EQ(clock.host(-100), Instant{1900});
}

TEST(ClockMap, KnowsNothingBeforeTheFirstExchange) { EXPECT_FALSE(ClockMap{}.known()); }

}  // namespace
}  // namespace tare::vm
