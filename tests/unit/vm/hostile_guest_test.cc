// SPDX-License-Identifier: Apache-2.0
// Damaged and hostile bytes from a guest against the host's whole end: socket, channel, parser, messages, clock, streams and exits. The
// cases are pseudo-random and the same each time; the sanitizers watch.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/damage.h"
#include "vm/guest.h"

namespace tare::vm {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// What a guest says, good and bad.
class Voice {
 public:
  explicit Voice(std::uint32_t seed) : random_(seed) {}
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  /// A true run: hello, the workload's begin, output, pongs and usage in any order, and an exit.
  std::string run() {
    std::string bytes = begin();
    for (std::uint32_t rest = below(10); rest > 0; --rest) bytes += any();
    return bytes += frame(guest::Exited{300, 3, 0, 0}, 0);
  }
  std::string begin() {
    std::string bytes = frame(guest::Hello{guest::kVersion, -5, 100}, 0);
    return bytes += frame(guest::Executed{200}, 0);
  }
  /// Frames of every kind, of the workload and of processes that are none.
  std::string frames() {
    std::string bytes;
    for (std::uint32_t rest = 1 + below(12); rest > 0; --rest) bytes += any();
    return bytes;
  }
  std::string damaged(std::string bytes) {
    const std::uint32_t hits = 1 + below(4);
    return test::damaged(std::move(bytes), hits, random_);
  }
  std::string noise() {
    std::string bytes(below(200), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random_());
    return bytes;
  }

  template <class Message>
  std::string frame(const Message& message, std::uint16_t process) {
    std::string out(64 * 1024, '\0');
    out.resize(guest::encode(message, process, sequence_++, std::span(out)));
    return out;
  }

 private:
  std::string any() {
    const auto process = static_cast<std::uint16_t>(below(6) == 0 ? below(3) : 0);
    const std::uint64_t number = below(4) == 0 ? random_() : below(8);
    const std::string text(below(10) == 0 ? below(30'000) : below(60), 'x');
    switch (below(11)) {
      case 0: return frame(guest::Hello{guest::kVersion + (below(8) == 0 ? 1 : 0), 1, 2}, process);
      case 1: return frame(guest::Executed{static_cast<std::int64_t>(number)}, process);
      case 2:
      case 3:
      case 4: return frame(guest::Output{static_cast<std::uint8_t>(below(4)), text}, process);
      case 5: return frame(guest::Failure{static_cast<std::int32_t>(below(200)), text}, process);
      case 6: return frame(guest::InputTaken{number, static_cast<std::uint8_t>(below(2))}, process);
      case 7: return frame(guest::Pong{number, static_cast<std::int64_t>(random_())}, process);
      case 8: {
        guest::GuestUsage usage;
        usage.id = number;
        return frame(usage, process);
      }
      case 9: return frame(guest::Ping{number}, process);  // only a host sends it
      default: return frame(guest::Exited{static_cast<std::int64_t>(number), 1, 0, 0}, process);
    }
  }
  std::mt19937_64 random_;
  std::uint32_t sequence_ = 0;
};

class HostileGuest : public testing::Test {
 protected:
  HostileGuest() : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw_errno("bind");
    if (::listen(listener_.get(), 1) != 0) throw_errno("listen");
  }

  enum class End { exit, sentence, refused_start };
  struct Outcome {
    End end = End::refused_start;
    std::size_t kept = 0;  // bytes of its log
    std::string sentence;
  };

  /// One guest that says `bytes`, reads what it is told for as long, and is gone.
  Outcome hear(const std::string& bytes) {
    return hear(bytes, {}, [&](Guest& guest) { guest.start(path_, Deadline::in(20s)); });
  }
  /// The same of a guest whose agent has died, of which 4 bytes of output are left.
  Outcome adopt(const std::string& bytes) {
    const TempDir left;
    KeptOutput(left.path(), {}).append(Stream::out, "old\n", Instant{1}, 4);
    GuestWork work;
    work.token = kToken;
    return hear(bytes, work, [&](Guest& guest) {
      guest.attach(path_, std::make_unique<KeptOutput>(left.path(), LogLimits(), guest.log()));
      guest.await_attached(Deadline::in(20s));
    });
  }
  template <class... Messages>
  static std::string answer(const Messages&... messages) {
    Voice voice(1);
    std::string bytes = kToken;
    ((bytes += voice.frame(messages, 0)), ...);
    return bytes;
  }
  Outcome hear(const std::string& bytes, const GuestWork& work, const std::function<void(Guest&)>& begin) {
    std::thread peer([&] { speak(bytes); });
    Outcome outcome;
    {
      Timeline timeline;
      timeline.mark(Mark::requested);
      Guest guest(work, "vm 'x'", timeline, {[] {}, [] {}, [](bool) {}, [] { return std::string(); }});
      try {
        begin(guest);
        outcome.end = guest.wait(Deadline::in(20s)) ? End::exit : End::refused_start;
      } catch (const Error& error) {
        outcome.end = guest.exit() ? End::exit : End::sentence;
        outcome.sentence = error.sentence();
      }
      EXPECT_TRUE(guest.wait_ended(Deadline::in(20s))) << "it hangs";
      outcome.kept = guest.log().text(Stream::out).size() + guest.log().text(Stream::err).size();
    }
    peer.join();
    return outcome;
  }

  static constexpr const char* kToken = "0123456789abcdef";
  const TempDir directory_;
  const std::string path_ = directory_.path() / "channel";
  Fd listener_;

 private:
  void speak(const std::string& bytes) const {
    const Fd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    char heard[4096];
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t count = ::send(peer.get(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (count < 0 && errno != EAGAIN) break;
      if (count > 0) at += static_cast<std::size_t>(count);
      while (::recv(peer.get(), heard, sizeof heard, 0) > 0) continue;
      pollfd ready{peer.get(), POLLIN | POLLOUT, 0};
      if (at < bytes.size()) ::poll(&ready, 1, 100);
    }
    ::shutdown(peer.get(), SHUT_WR);
    // It hears to the end: what the host then says is of the bytes, and not of a send that failed.
    for (pollfd ready{peer.get(), POLLIN, 0}; ::poll(&ready, 1, 20'000) > 0;) {
      const ssize_t count = ::recv(peer.get(), heard, sizeof heard, 0);
      if (count == 0 || (count < 0 && errno != EAGAIN)) break;
    }
  }
};

TEST_F(HostileGuest, TwentyThousandDamagedStreamsAreEachAnExitOrASentence) {
  int exits = 0, sentences = 0;
  for (std::uint32_t seed = 0; seed < 20'000; ++seed) {
    Voice voice(seed);
    const std::uint32_t kind = voice.below(8);
    const std::string bytes = kind == 0 ? voice.noise() : voice.damaged(kind < 4 ? voice.run() : voice.frames());
    const Outcome outcome = hear(bytes);
    ASSERT_NE(outcome.end, End::refused_start) << "seed " << seed;
    ASSERT_LE(outcome.kept, bytes.size()) << "seed " << seed;
    if (outcome.end == End::sentence) {
      ASSERT_TRUE(outcome.sentence.starts_with("vm 'x': ")) << "seed " << seed << ": " << outcome.sentence;
    }
    ++(outcome.end == End::exit ? exits : sentences);
  }
  EXPECT_GT(exits, 1'000);
  EXPECT_GT(sentences, 5'000);
}

TEST_F(HostileGuest, ATrueRunIsItsExit) {
  for (int run = 0; run < 50; ++run) {
    Voice voice(1);
    std::string bytes = voice.begin();
    bytes += voice.frame(guest::Output{1, "said\n"}, 0);
    bytes += voice.frame(guest::Exited{300, 3, 0, 0}, 0);
    const Outcome outcome = hear(bytes);
    EXPECT_EQ(outcome.end, End::exit) << outcome.sentence;
    EXPECT_EQ(outcome.kept, 5U);
  }
}

TEST_F(HostileGuest, WhatIsStaleIsDroppedAndTheStreamBehindTheTokenIsHeard) {
  const std::string bytes = Voice(1).begin().substr(7) + std::string(200'000, 's') +
                            answer(guest::Attached{250, 4, 0, 0, 0}, guest::Output{1, "new\n"}, guest::Exited{300, 3, 0, 0});
  const Outcome outcome = adopt(bytes);
  EXPECT_EQ(outcome.end, End::exit) << outcome.sentence;
  EXPECT_EQ(outcome.kept, 8U);
}

TEST_F(HostileGuest, AGapInTheOutputIsSaid) {
  const Outcome outcome = adopt(answer(guest::Attached{250, 1004, 0, 0, 0}, guest::Exited{300, 3, 0, 0}));
  EXPECT_EQ(outcome.end, End::exit) << outcome.sentence;
  EXPECT_EQ(outcome.kept, 4U + std::string_view("tare: 1000 bytes of output are lost with the agent that died\n").size());
}

TEST_F(HostileGuest, AnAnswerThatDoesNotFitIsASentence) {
  const guest::Attached good{250, 4, 0, 0, 0};
  const auto said = [&](const std::string& bytes) { return adopt(bytes).sentence; };
  EXPECT_THAT(said(answer(guest::Output{1, "before\n"})), HasSubstr("spoke before it said where it stands"));
  EXPECT_THAT(said(answer(guest::Attached{250, 3, 0, 0, 0})), HasSubstr("a position that it was not asked for"));
  EXPECT_THAT(said(answer(guest::Attached{250, 4, 5, 6, 0})), HasSubstr("a position that it was not asked for"));
  EXPECT_THAT(said(answer(good, good)), HasSubstr("a token that it was not shown"));
  EXPECT_THAT(said(std::string(5U << 20, 'x')), HasSubstr("does not answer to its token"));
}

TEST_F(HostileGuest, DamagedAnswersToATokenAreEachAnExitOrASentence) {
  for (std::uint32_t seed = 0; seed < 500; ++seed) {
    Voice voice(seed);
    std::string bytes = kToken + voice.frame(guest::Attached{250, 4, 0, 0, 0}, 0);
    bytes += voice.frames();
    const Outcome outcome = adopt(voice.damaged(std::move(bytes)));
    ASSERT_NE(outcome.end, End::refused_start) << "seed " << seed;
  }
}

TEST_F(HostileGuest, AReadingThatNoClockHasIsRefused) {
  for (const std::int64_t reading : {INT64_MIN, INT64_MAX}) {
    Voice voice(1);
    std::string bytes = voice.begin();
    bytes += voice.frame(guest::Pong{1, reading}, 0);
    EXPECT_THAT(hear(bytes).sentence, HasSubstr("a reading that no clock has"));
  }
}

TEST_F(HostileGuest, AFloodIsCutToWhatTheLogHolds) {
  Voice voice(1);
  std::string bytes = voice.begin();
  const std::string line(30'000, 'y');
  while (bytes.size() < (40U << 20)) bytes += voice.frame(guest::Output{1, line}, 0);
  const Outcome outcome = hear(bytes);
  EXPECT_THAT(outcome.sentence, HasSubstr("ended without the workload's exit"));
  EXPECT_GT(outcome.kept, 8U << 20);
  EXPECT_LE(outcome.kept, 17U << 20);  // the log's capacity is 16 MiB
}

}  // namespace
}  // namespace tare::vm
