// SPDX-License-Identifier: Apache-2.0
// What clients send and are sent about instances, without any.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "agent/cli/options.h"
#include "agent/frames.h"
#include "agent/instance_json.h"
#include "agent/instances.h"
#include "core/error.h"

namespace tare::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string refusal(const std::string& body) {
  try {
    start_instance_from(body);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::invalid);
    return e.sentence();
  }
  return "it was taken";
}

TEST(StartInstance, IsReadWithTheKeysOfASuitesWorkload) {
  const StartInstance start = start_instance_from(
      R"({"backend":"vm","name":"web","workload":{"image":"tare/probe","command":["probe","--x=\"1\"","ü\n"],"limits":{"memory":"64MiB","cpus":0.5},)"
      R"("environment":{"A":"b=c"},"stop_grace":"2s"}})");
  EXPECT_EQ(start.backend, "vm");
  EXPECT_EQ(start.name, "web");
  EXPECT_EQ(start.workload.name, "web");
  EXPECT_THAT(start.workload.command, ElementsAre("probe", "--x=\"1\"", "ü\n"));
  EXPECT_EQ(start.workload.limits.memory, 64_MiB);
  EXPECT_EQ(start.workload.limits.cpus, 0.5);
  EXPECT_THAT(start.workload.environment, ElementsAre("A=b=c"));
  EXPECT_EQ(start.workload.stop_grace, std::chrono::seconds(2));
}

TEST(StartInstance, WhatIsUnknownIsRefusedWithTheNearestWord) {
  EXPECT_THAT(refusal(R"({"bakend":"vm","workload":{"image":"a"}})"), HasSubstr("unknown key 'bakend' (did you mean 'backend'?)"));
  EXPECT_THAT(refusal(R"({"workload":{"image":"a","comand":["b"]}})"), HasSubstr("unknown key 'comand' (did you mean 'command'?)"));
  EXPECT_THAT(refusal(R"({"workload":{"image":"a","limits":{"memori":"1GiB"}}})"), HasSubstr("did you mean 'memory'?"));
  EXPECT_THAT(refusal(R"({"workload":{"command":["b"]}})"), HasSubstr("image"));
  EXPECT_THAT(refusal(R"({"name":"x"})"), HasSubstr("no 'workload'"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("no JSON object"));
  EXPECT_THAT(refusal("{"), testing::Not(HasSubstr("it was taken")));
}

TEST(InstanceName, IsOneThatDockerTakes) {
  EXPECT_NO_THROW(check_instance_name("Web_1.a-b"));
  for (const char* bad : {"a", "-web", "a b", "a/b", "ü1"}) EXPECT_THROW(check_instance_name(bad), Error) << bad;
}

TEST(Ending, AKillForMemoryNamesItsLimit) {
  Workload workload;
  workload.limits.memory = 16_MiB;
  EXPECT_EQ(sentence_of(Exit{SIGKILL, true, true}, workload), "was killed for memory: limit 16.0 MiB");
  EXPECT_EQ(sentence_of(Exit{3, false, false}, workload), "");
  EXPECT_THAT(sentence_of(Exit{SIGTERM, true, false}, workload), HasSubstr("SIGTERM"));
  EXPECT_THAT(boost::json::serialize(to_json(Ending{Exit{SIGKILL, true, true}, "s", 0})),
              testing::AllOf(HasSubstr("\"status\":137"), HasSubstr("\"signal\":9"), HasSubstr("\"oom\":true")));
}

TEST(Signals, AreReadAsPeopleWriteThem) {
  EXPECT_EQ(signal_named("TERM"), SIGTERM);
  EXPECT_EQ(signal_named("SIGUSR1"), SIGUSR1);
  EXPECT_EQ(signal_named("9"), SIGKILL);
  for (const char* bad : {"", "0", "TERMINATE", "-1", "99"}) EXPECT_THROW(signal_named(bad), Error) << bad;
}

TEST(Times, AreUtcWithNanoseconds) {
  EXPECT_EQ(utc_text(0), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(utc_text(Instant{5}, 1'700'000'000'000'000'000), "2023-11-14T22:13:20.000000005Z");
}

TEST(Frames, AreReadHoweverTheyAreCut) {
  const std::string bytes = frame(FrameKind::out, "a\n") + frame(FrameKind::err, "") + frame(FrameKind::control, "{}");
  EXPECT_EQ(bytes.substr(0, 8), std::string("\1\0\0\0\0\0\0\2", 8));
  FrameParser parser;
  std::vector<std::string> texts;
  for (const char byte : bytes) {
    for (const auto& frame : parser.feed({&byte, 1})) texts.push_back(std::to_string(static_cast<int>(frame.kind)) + frame.bytes);
  }
  EXPECT_THAT(texts, ElementsAre("1a\n", "2", "4{}"));
}

TEST(Frames, GarbageIsRefused) {
  EXPECT_THROW(FrameParser().feed("HTTP/1.1"), Error);
  EXPECT_THROW(FrameParser().feed(std::string("\1\0\0\0\377\0\0\0", 8)), Error);
}

cli::Options parsed(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "tare");
  return cli::parse(static_cast<int>(arguments.size()), arguments.data()).value();
}

TEST(RunOptions, EndWithTheImage) {
  const auto run =
      parsed({"run", "-d", "-m", "64MiB", "--name=web", "-e", "A=1", "-e", "B", "img", "ls", "-l", "--name", "x"}).instance_run;
  EXPECT_TRUE(run.detach);
  EXPECT_EQ(run.memory, "64MiB");
  EXPECT_EQ(run.name, "web");
  EXPECT_EQ(run.image, "img");
  EXPECT_THAT(run.environment, ElementsAre("A=1", "B"));
  EXPECT_THAT(run.command, ElementsAre("ls", "-l", "--name", "x"));
  EXPECT_THAT(parsed({"run", "img"}).instance_run.command, IsEmpty());
  EXPECT_THAT(parsed({"run", "--", "img", "--help"}).instance_run.command, ElementsAre("--help"));
}

TEST(RunOptions, WhatIsNoneIsRefusedWithTheNearest) {
  try {
    parsed({"run", "--memry", "img"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::usage);
    EXPECT_THAT(e.sentence(), HasSubstr("did you mean '--memory'?"));
  }
  EXPECT_THROW(parsed({"run"}), Error);
}

}  // namespace
}  // namespace tare::agent
