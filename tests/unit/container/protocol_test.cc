// SPDX-License-Identifier: Apache-2.0
#include "container/protocol.h"

#include <gtest/gtest.h>

#include <random>

namespace tare::container {
namespace {

StartRequest full_request() {
  StartRequest request;
  request.request = 77;
  request.tasks = 6;
  request.cgroup_directory = true;
  request.seccomp = true;
  request.userns = true;
  request.streams = true;
  request.park = true;
  request.plan = {"t1",
                  "",
                  "/bin/x",
                  {"x", "", "a b"},
                  {"A=1"},
                  "/w",
                  "host",
                  "/m",
                  "/log",
                  1000,
                  3,
                  true,
                  true,
                  24,
                  80,
                  true,
                  Isolation::container(Security::standard),
                  {},
                  {}};
  request.plan.attributes = {1, 2, {2, 3}, 027, {{7, 1024, 4096}}};
  Workload workload;
  workload.mounts = {{Mount::Type::volume, "v", "/v", true, {}}, {Mount::Type::tmpfs, "", "/t", false, 1_MiB}};
  workload.read_only_root = true;
  request.plan.mounts = mount_plan(request.plan.isolation, workload, {{"/dev/fuse", 020666, 10, 229, 0, 0}}, "/volumes");
  request.trees = 1;
  request.plan.isolation.first_id = 0x70000000;
  return request;
}

Hello full_hello() {
  Hello hello;
  hello.pid = 4;
  hello.known.push_back({"t1", 10, 1, 2, "/log", 3, true, 70, 60, true, std::nullopt});
  hello.known.push_back({"t2", 11, 1, 2, "/log2", 3, false, 0, 0, false, Ended{"t2", 9, 5, 6, 7, 8, false, 9}});
  return hello;
}

template <typename T>
void round_trip(const T& message) {
  T read;
  ASSERT_TRUE(decode(encode(message), read));
  EXPECT_EQ(read, message);
}

TEST(Protocol, EveryMessageComesBackAsItWas) {
  round_trip(full_request());
  round_trip(full_hello());
  round_trip(SignalRequest{1, "t1", 15});
  round_trip(Forget{"t1"});
  round_trip(Go{3, "t1"});
  round_trip(Started{1, 2, 3, 4});
  round_trip(Refused{1, "mount overlay", 19, "/x"});
  round_trip(Done{9});
  round_trip(LogGrew{"t1", 5, true});
  round_trip(LogRead{"t1", kNobodyReads});
  round_trip(Feed{"t1", {std::string("any\0byte\xff", 9)}, true});
  round_trip(Fed{"t1", 1ULL << 40, false});
  round_trip(Resize{"t1", 24, 65535});
  round_trip(Ended{"t1", 256, 1, 2, 3, 4, true});
}

TEST(Protocol, NoPrefixOfAMessageIsAMessage) {
  const std::string bytes = encode(full_request());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    StartRequest request;
    EXPECT_FALSE(decode(std::string_view(bytes).substr(0, size), request)) << size;
  }
}

TEST(Protocol, TrailingBytesAreRefused) {
  Done done;
  EXPECT_FALSE(decode(encode(Done{1}) + "x", done));
}

TEST(Protocol, OneKindIsNotReadAsAnother) {
  Forget forget;
  EXPECT_FALSE(decode(encode(Done{1}), forget));
  EXPECT_FALSE(kind_of(""));
  EXPECT_FALSE(kind_of("\xff"));
  EXPECT_FALSE(kind_of(std::string(1, '\0')));
}

TEST(Protocol, ALengthBeyondThePacketIsRefused) {
  std::string bytes = encode(Forget{"abc"});
  bytes[1] = bytes[2] = bytes[3] = bytes[4] = '\xff';
  Forget forget;
  EXPECT_FALSE(decode(bytes, forget));
}

TEST(Protocol, AZeroInATextIsRefused) {
  Forget forget;
  EXPECT_FALSE(decode(encode(Forget{std::string("a\0b", 3)}), forget));
}

TEST(Protocol, ATerminalBringsOneDescriptorAndAPipeForStdinAThird) {
  StartRequest request;
  request.streams = true;
  EXPECT_EQ(request.descriptors(), 2U);
  request.plan.open_stdin = true;
  EXPECT_EQ(request.descriptors(), 3U);
  request.plan.tty = true;
  EXPECT_EQ(request.descriptors(), 1U);
  request.streams = false;
  EXPECT_EQ(request.descriptors(), 0U);
}

TEST(Protocol, BytesForStdinAreNeverMoreThanThePacketHolds) {
  const std::string good = encode(Feed{"t1", {"0123456789"}, false});
  Feed feed;
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(decode(good.substr(0, size), feed)) << size;
  std::string bytes = good;
  bytes[1 + 4 + 2 + 3] = '\x7f';  // of the length, its highest byte
  EXPECT_FALSE(decode(bytes, feed));
  bytes = good;
  bytes.back() = 2;  // a truth is 0 or 1
  EXPECT_FALSE(decode(bytes, feed));
}

TEST(Protocol, MoreDescriptorsThanFitAreRefused) {
  StartRequest request = full_request();
  request.tasks = 0xffffffffU;
  StartRequest read;
  EXPECT_FALSE(decode(encode(request), read));
}

TEST(Protocol, RandomDamageIsSurvived) {
  std::mt19937 random(1);
  const std::string good = encode(full_request());
  const std::string hello = encode(full_hello());
  const std::string fed = encode(Feed{"t1", {"some bytes"}, true});
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = i % 3 == 0 ? good : i % 3 == 1 ? hello : fed;
    for (unsigned n = random() % 8 + 1; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    bytes.resize(random() % bytes.size() + 1);
    StartRequest request;
    Hello read;
    const bool is_start = decode(bytes, request);
    const bool is_hello = decode(bytes, read);
    Feed feed;
    const bool is_feed = decode(bytes, feed);
    EXPECT_LE(int{is_start} + int{is_hello} + int{is_feed}, 1);
    EXPECT_LE(feed.bytes.bytes.size(), bytes.size());
  }
}

}  // namespace
}  // namespace tare::container
