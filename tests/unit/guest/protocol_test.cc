// SPDX-License-Identifier: Apache-2.0
#include "guest/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace tare::guest {
namespace {

class Stream {
 public:
  Parser::Result feed(std::string_view bytes, Frame& frame) {
    const auto room = parser_.room();
    std::memcpy(room.data(), bytes.data(), bytes.size());
    parser_.filled(bytes.size());
    return parser_.next(frame);
  }
  Parser& parser() { return parser_; }

 private:
  std::vector<char> buffer_ = std::vector<char>(2 * kMaxFrame);
  Parser parser_{buffer_};
};

template <class Message>
std::string encoded(const Message& message, std::uint16_t process = 0, std::uint32_t sequence = 0) {
  std::vector<char> out(kMaxFrame);
  const std::size_t size = encode(message, process, sequence, out);
  return {out.data(), size};
}

TEST(Protocol, EveryFieldOfAMessageSurvivesTheWire) {
  Hello sent;
  sent.version = 0xfedcba98;
  sent.kernel = -12'345'678'901;
  sent.init = INT64_MAX;
  sent.loading = 3;
  sent.loaded = -4;
  sent.opened = 5;
  sent.init_ticks = UINT64_MAX;
  Stream stream;
  Frame frame;
  ASSERT_EQ(stream.feed(encoded(sent, 7), frame), Parser::Result::frame);
  EXPECT_EQ(frame.type, Type::hello);
  EXPECT_EQ(frame.process, 7);
  const auto got = decode<Hello>(frame.payload);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->version, sent.version);
  EXPECT_EQ(got->kernel, sent.kernel);
  EXPECT_EQ(got->init, sent.init);
  EXPECT_EQ(got->loading, sent.loading);
  EXPECT_EQ(got->loaded, sent.loaded);
  EXPECT_EQ(got->opened, sent.opened);
  EXPECT_EQ(got->init_ticks, sent.init_ticks);
}

TEST(Protocol, TheHeaderIsLittleEndianWhateverTheHost) {
  Ping ping;
  ping.id = 0x0102;
  EXPECT_EQ(encoded(ping, 3, 0), std::string("tare\x07\x00\x03\x00\x08\x00\x00\x00\x00\x00\x00\x00"
                                             "\x02\x01\x00\x00\x00\x00\x00\x00",
                                             24));
}

TEST(Protocol, ATextMayHoldAnyByteAndBeEmpty) {
  Output output;
  output.stream = 2;
  output.text = std::string_view("a\0\xff\n", 4);
  Stream stream;
  Frame frame;
  ASSERT_EQ(stream.feed(encoded(output), frame), Parser::Result::frame);
  EXPECT_EQ(decode<Output>(frame.payload)->text, output.text);
  output.text = {};
  ASSERT_EQ(stream.feed(encoded(output, 0, 1), frame), Parser::Result::frame);
  EXPECT_EQ(decode<Output>(frame.payload)->text, "");
}

TEST(Protocol, APayloadThatIsTooShortOrTooLongIsNoMessage) {
  const std::string whole = encoded(Exited{}).substr(kHeaderSize);
  EXPECT_TRUE(decode<Exited>(whole));
  EXPECT_FALSE(decode<Exited>(whole.substr(1)));
  EXPECT_FALSE(decode<Exited>(whole + "x"));
  EXPECT_FALSE(decode<Signal>(""));
}

TEST(Protocol, AMessageThatDoesNotFitIsRefusedAsAWhole) {
  std::vector<char> small(kHeaderSize + 3);
  EXPECT_EQ(encode(Ping{}, 0, 0, small), 0U);
  EXPECT_EQ(encode(Ping{}, 0, 0, std::span<char>()), 0U);
  std::vector<char> out(2 * kMaxFrame);
  const std::string long_text(kMaxPayload + 1, 'x');
  EXPECT_EQ(encode_frame(Type::argument, 0, 0, long_text, out), 0U);
}

TEST(Parser, FramesArriveWholeFromAnyCutOfTheStream) {
  std::string bytes;
  for (std::uint32_t i = 0; i < 5; ++i) {
    Pong pong;
    pong.id = i;
    bytes += encoded(pong, 0, i);
  }
  for (std::size_t cut = 1; cut <= bytes.size(); ++cut) {
    Stream stream;
    std::vector<std::uint64_t> ids;
    for (std::size_t at = 0; at < bytes.size(); at += cut) {
      const std::string_view piece = std::string_view(bytes).substr(at, cut);
      Frame frame;
      for (auto result = stream.feed(piece, frame); result == Parser::Result::frame; result = stream.parser().next(frame)) {
        ids.push_back(decode<Pong>(frame.payload)->id);
      }
    }
    EXPECT_THAT(ids, testing::ElementsAre(0, 1, 2, 3, 4)) << "cut after " << cut;
  }
}

std::string fault_of(std::string bytes) {
  Stream stream;
  Frame frame;
  if (stream.feed(bytes, frame) != Parser::Result::corrupt) return "";
  return stream.parser().fault();
}

TEST(Parser, NamesWhatIsWrongWithHostileBytes) {
  const std::string good = encoded(Ping{});
  const auto with = [&](std::size_t at, char byte) {
    std::string bytes = good;
    bytes[at] = byte;
    return bytes;
  };
  EXPECT_EQ(fault_of(good), "");
  EXPECT_EQ(fault_of(with(0, 'T')), "a frame does not begin with the magic number");
  EXPECT_EQ(fault_of(with(4, 99)), "a frame has an unknown type");
  EXPECT_EQ(fault_of(with(11, '\x7f')), "a frame is longer than the protocol allows");
  EXPECT_EQ(fault_of(with(12, 1)), "a frame is missing");
}

TEST(Parser, StaysCorruptOnceItWas) {
  Stream stream;
  Frame frame;
  EXPECT_EQ(stream.feed(std::string(kHeaderSize, '\0'), frame), Parser::Result::corrupt);
  EXPECT_EQ(stream.feed(encoded(Ping{}), frame), Parser::Result::corrupt);
}

TEST(Parser, TheLargestFrameFits) {
  std::vector<char> out(kMaxFrame);
  const std::string text(kMaxPayload, 'x');
  ASSERT_EQ(encode_frame(Type::environment, 0, 0, text, out), kMaxFrame);
  std::vector<char> buffer(kMaxFrame);
  Parser parser(buffer);
  ASSERT_EQ(parser.room().size(), kMaxFrame);
  std::memcpy(parser.room().data(), out.data(), out.size());
  parser.filled(out.size());
  Frame frame;
  ASSERT_EQ(parser.next(frame), Parser::Result::frame);
  EXPECT_EQ(frame.payload.size(), kMaxPayload);
}

// Random damage to valid streams: the parser must neither read past its buffer (the sanitizers watch) nor deliver a frame that
// breaks the protocol's bounds.
TEST(Parser, SurvivesRandomDamage) {
  std::mt19937 random(20260101);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (std::uint32_t i = 0; i < 4; ++i) bytes += encoded(Exited{}, 0, i);
    for (int hits = 0; hits < 3; ++hits) bytes[random() % bytes.size()] = static_cast<char>(random());
    Stream stream;
    Frame frame;
    for (auto result = stream.feed(bytes, frame); result == Parser::Result::frame; result = stream.parser().next(frame)) {
      EXPECT_TRUE(known(static_cast<std::uint16_t>(frame.type)));
      EXPECT_LE(frame.payload.size(), kMaxPayload);
      decode<Exited>(frame.payload);
      decode<Failure>(frame.payload);
    }
  }
}

}  // namespace
}  // namespace tare::guest
