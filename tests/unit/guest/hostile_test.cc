// SPDX-License-Identifier: Apache-2.0
// Damaged and hostile bytes against all in the guest that takes the host's: the parser, the messages, the command and the input. The
// cases are pseudo-random and the same each time; the sanitizers watch.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "guest/command.h"
#include "guest/input_queue.h"
#include "tests/support/damage.h"

namespace tare::guest {
namespace {

class Fuzz {
 public:
  explicit Fuzz(std::uint32_t seed) : random_(seed) {}
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  /// A stream of frames of the host's that the protocol allows.
  std::string stream() {
    std::string bytes;
    const std::uint32_t count = 1 + below(12);
    for (std::uint32_t i = 0; i < count; ++i) bytes += frame(i);
    return bytes;
  }
  std::string damaged(std::string bytes) {
    const std::uint32_t hits = below(5);
    return test::damaged(std::move(bytes), hits, random_);
  }

 private:
  template <class Message>
  std::string encoded(const Message& message, std::uint32_t sequence) {
    std::string out(kMaxFrame, '\0');
    out.resize(encode(message, static_cast<std::uint16_t>(below(3)), sequence, std::span(out)));
    return out;
  }
  std::string text(Type type, std::uint32_t sequence) {
    std::string out(kMaxFrame, '\0');
    const std::uint32_t most = type == Type::input ? kInputWindow : kMaxPayload;
    const std::string payload(below(8) == 0 ? below(most) : below(64), static_cast<char>('a' + below(26)));
    out.resize(encode_frame(type, 0, sequence, payload, std::span(out)));
    return out;
  }
  std::string frame(std::uint32_t sequence) {
    switch (below(11)) {
      case 0: return text(Type::argument, sequence);
      case 1: return text(Type::environment, sequence);
      case 2: return text(Type::input, sequence);
      case 3: return encoded(Setting{static_cast<std::uint8_t>(below(9)), "/some/where"}, sequence);
      case 4: return encoded(Group{below(100)}, sequence);
      case 5: return encoded(Limit{static_cast<std::int32_t>(below(20)), 1, 2}, sequence);
      case 6: return encoded(Start{}, sequence);
      case 7: return encoded(Exec{}, sequence);
      case 8: return encoded(Resize{1, 2}, sequence);
      case 9: return encoded(OutputTaken{below(1000)}, sequence);
      default: return encoded(InputEnd{}, sequence);
    }
  }
  std::mt19937 random_;
};

/// Takes frames as tare-init does, but that nothing is run.
class Guest {
 public:
  Guest() {
    std::signal(SIGPIPE, SIG_IGN);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) std::abort();
    reader_ = ends[0];
    input_.begin(ends[1], false, std::span<char, InputQueue::kCapacity>(buffer_));
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;
  ~Guest() {
    input_.close();
    ::close(reader_);
  }

  /// False once it would give up.
  bool take(const Frame& frame) {
    EXPECT_LE(frame.payload.size(), kMaxPayload);
    EXPECT_TRUE(known(static_cast<std::uint16_t>(frame.type)));
    switch (frame.type) {
      case Type::argument: command_.add_argument(frame.payload); return true;
      case Type::environment: command_.add_environment(frame.payload); return true;
      case Type::setting: {
        const auto setting = decode<Setting>(frame.payload);
        if (setting) command_.set_directory(setting->text);
        return setting.has_value();
      }
      case Type::group: return with<Group>(frame, [&](const Group& group) { command_.add_group(group); });
      case Type::limit: return with<Limit>(frame, [&](const Limit& limit) { command_.add_limit(limit); });
      case Type::start: return with<Start>(frame, [&](const Start&) { run(); });
      case Type::exec: return with<Exec>(frame, [&](const Exec&) { run(); });
      case Type::input: {
        const bool fits = input_.push(frame.payload);
        input_.write();
        drain();
        EXPECT_LE(input_.taken(), pushed_ += fits ? frame.payload.size() : 0);
        return fits;
      }
      case Type::input_end: input_.end(); return frame.payload.empty();
      case Type::resize: return decode<Resize>(frame.payload).has_value();
      case Type::output_taken: return decode<OutputTaken>(frame.payload).has_value();
      default: return false;
    }
  }

 private:
  template <class Message, class Act>
  static bool with(const Frame& frame, Act act) {
    const auto message = decode<Message>(frame.payload);
    if (message) act(*message);
    return message.has_value();
  }
  void drain() {
    char chunk[8192];
    while (::read(reader_, chunk, sizeof chunk) > 0) input_.write();
  }
  void run() {
    std::size_t size = 0;
    if (command_.complete()) {
      for (char* const* text = command_.arguments(); *text != nullptr; ++text) size += std::strlen(*text);
    }
    EXPECT_LE(size, std::size_t{3} << 20);
    command_.clear();
  }
  std::vector<char> buffer_ = std::vector<char>(InputQueue::kCapacity);
  Command command_;
  InputQueue input_;
  int reader_ = -1;
  std::size_t pushed_ = 0;
};

struct Outcome {
  int frames = 0;
  int refused = 0;  // by the parser or by who takes the frame
};

Outcome play(std::uint32_t seeds, bool damage) {
  const auto guest = std::make_unique<Guest>();
  std::vector<char> buffer(2 * kMaxFrame);
  Outcome outcome;
  for (std::uint32_t seed = 0; seed < seeds; ++seed) {
    Fuzz fuzz(seed);
    const std::string bytes = damage ? fuzz.damaged(fuzz.stream()) : fuzz.stream();
    Parser parser(buffer);
    bool good = true;
    for (std::size_t at = 0; good && at < bytes.size();) {
      const auto room = parser.room();
      const std::size_t piece = std::min({room.size(), bytes.size() - at, std::size_t{1} + fuzz.below(kMaxFrame)});
      std::copy_n(bytes.data() + at, piece, room.data());
      parser.filled(piece);
      at += piece;
      Frame frame;
      Parser::Result result{};
      while (good && (result = parser.next(frame)) == Parser::Result::frame) {
        ++outcome.frames;
        good = guest->take(frame);
      }
      good = good && result != Parser::Result::corrupt;
    }
    outcome.refused += good ? 0 : 1;
  }
  return outcome;
}

TEST(HostileHost, DamagedStreamsAreRefusedAndBreakNothing) {
  const Outcome outcome = play(20'000, true);
  EXPECT_GT(outcome.frames, 20'000);
  EXPECT_GT(outcome.refused, 5'000);
}

TEST(HostileHost, WhatKeepsToTheProtocolIsNeverRefused) {
  const Outcome outcome = play(500, false);
  EXPECT_GT(outcome.frames, 2'000);
  EXPECT_EQ(outcome.refused, 0);
}

}  // namespace
}  // namespace tare::guest
