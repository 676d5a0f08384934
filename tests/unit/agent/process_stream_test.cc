// SPDX-License-Identifier: Apache-2.0
// The two directions of an attached process, over a backend that runs nothing: what is typed comes out again.
#include "agent/process_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "agent/frames.h"
#include "tests/fakes/fake_backend.h"
#include "tests/fakes/fake_exec.h"

namespace tare::agent {
namespace {

using testing::HasSubstr;

class OneBackend final : public BackendSet {
 public:
  std::vector<Backend*> all() const override { return {&backend_}; }
  ControlGroups* control_groups() const override { return nullptr; }
  std::vector<pid_t> helpers() const override { return {}; }
  std::vector<Check> checks() const override { return {}; }

 private:
  mutable fakes::FakeBackend backend_{"container"};
};

class ProcessStream : public testing::Test {
 protected:
  std::shared_ptr<LiveInstance> start(bool tty, bool open_stdin = true) {
    StartInstance request;
    request.attached = true;
    request.workload.open_stdin = open_stdin;
    request.workload.tty = tty;
    return instances_.start(std::move(request));
  }
  /// All that comes until a frame of `kind`, or without one until nothing more does.
  static std::vector<FrameParser::Frame> frames(Source& source) {
    FrameParser parser;
    std::vector<FrameParser::Frame> all;
    for (std::string text = source.next(); !text.empty(); text = source.next()) {
      for (FrameParser::Frame& frame : parser.feed(text)) all.push_back(std::move(frame));
    }
    return all;
  }
  static std::string control(const std::string& json) { return frame(FrameKind::control, json); }

  OneBackend backends_;
  Instances instances_{Paths{}, backends_, false};
};

TEST_F(ProcessStream, InputComesInFramesAndTheLastOneTellsTheExit) {
  const auto live = start(false);
  const auto source = attach_source(instances_, live, true, Framing::frames);
  EXPECT_THAT(source->head(), HasSubstr("101 UPGRADED"));
  source->input(frame(FrameKind::in, "hel"));
  source->input(frame(FrameKind::in, "lo\n") + control(R"({"rows": 3, "columns": 4})"));
  std::string out;
  for (const auto& piece : frames(*source)) out += piece.bytes;
  EXPECT_EQ(out, "hello\nsize 3x4\n");
  EXPECT_TRUE(source->takes_input());
  EXPECT_FALSE(source->input_ended());  // who sends nothing more is gone
  source->input(frame(FrameKind::in, ""));
  std::vector<FrameParser::Frame> last;
  for (const Deadline deadline = Deadline::in(std::chrono::seconds(10)); last.empty() && !deadline.passed();) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    last = frames(*source);
  }
  ASSERT_EQ(last.size(), 1U);
  EXPECT_EQ(last[0].kind, FrameKind::control);
  EXPECT_THAT(last[0].bytes, HasSubstr(R"("status":0)"));
  EXPECT_TRUE(source->ended());
}

TEST_F(ProcessStream, OnlyWhoHasStdinAndATerminalCanBeLeft) {
  const auto piped = start(false);
  const auto first = attach_source(instances_, piped, true, Framing::frames);
  first->input(control(R"({"detach": true})"));
  EXPECT_FALSE(first->ended());
  EXPECT_TRUE(piped->attached());
  const auto typed = start(true);
  const auto second = attach_source(instances_, typed, true, Framing::frames);
  second->input(control(R"({"detach": true})"));
  const auto answer = frames(*second);
  ASSERT_EQ(answer.size(), 1U);
  EXPECT_THAT(answer[0].bytes, HasSubstr("\"detached\":\"" + typed->id()));
  EXPECT_FALSE(typed->attached());
  second->closed();
  EXPECT_EQ(typed->state(), State::running);
}

TEST_F(ProcessStream, DockersFramingIsBareWhereThereIsATerminal) {
  const auto live = start(true);
  const auto source = attach_source(instances_, live, true, Framing::docker);
  EXPECT_THAT(source->head(), HasSubstr("raw-stream"));
  source->input("bare\n");
  EXPECT_EQ(source->next(), "bare\n");
  EXPECT_TRUE(source->input_ended());
}

TEST_F(ProcessStream, WhatIsNoFrameIsNoFaultOfOurs) {
  const auto live = start(false);
  const auto source = attach_source(instances_, live, true, Framing::frames);
  source->input("\xff\xff\xff\xff\xff\xff\xff\xff");
  EXPECT_EQ(source->next(), "");
  EXPECT_FALSE(source->ended());
}

TEST_F(ProcessStream, AnExecTellsItsOutputAndItsExit) {
  const auto live = start(false);
  const auto source = exec_source(instances_, live, std::make_unique<fakes::FakeExec>(ExecResult{Exit{3, false, false}, "out", "err"}),
                                  false, Framing::frames);
  const auto all = frames(*source);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].bytes, "out");
  EXPECT_EQ(all[1].bytes, "err");
  EXPECT_THAT(all[2].bytes, HasSubstr(R"("status":3)"));
  source->closed();
}

}  // namespace
}  // namespace tare::agent
