// SPDX-License-Identifier: Apache-2.0
// What the command line makes of what is typed, without an agent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <termios.h>

#include <boost/json.hpp>

#include "agent/cli/options.h"
#include "agent/cli/raw_terminal.h"
#include "agent/cli/run_body.h"
#include "agent/instance_json.h"
#include "agent/stream_parts.h"
#include "core/error.h"
#include "core/fd.h"
#include "tests/support/failure_of.h"

namespace tare::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(DetachKeys, ControlPControlQIsFoundHoweverItIsCut) {
  cli::DetachKeys keys;
  EXPECT_EQ(keys.pass("ab\x10"), "ab");
  EXPECT_FALSE(keys.pressed());
  EXPECT_EQ(keys.pass("\x11zz"), "");
  EXPECT_TRUE(keys.pressed());
  EXPECT_EQ(keys.pass("more"), "");
}

TEST(DetachKeys, WhatIsNotTheKeysGoesThroughWhole) {
  cli::DetachKeys keys;
  EXPECT_EQ(keys.pass("\x10x\x11"), "\x10x\x11");
  EXPECT_EQ(keys.pass("\x10"), "");
  EXPECT_EQ(keys.pass("\x10"), "\x10");  // one of the two is still held back
  EXPECT_EQ(keys.pass("y"), "\x10y");
  EXPECT_FALSE(keys.pressed());
}

TEST(RawTerminal, GivesTheTerminalBackAndRefusesWhatIsNone) {
  int master = -1;
  int slave = -1;
  ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  const Fd ends[] = {Fd(master), Fd(slave)};
  termios before{};
  termios now{};
  ::tcgetattr(slave, &before);
  {
    const cli::RawTerminal raw(slave);
    ::tcgetattr(slave, &now);
    EXPECT_EQ(now.c_lflag & (ICANON | ECHO | ISIG), 0U);
  }
  ::tcgetattr(slave, &now);
  EXPECT_EQ(now.c_lflag, before.c_lflag);
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const Fd pipes[] = {Fd(pipe[0]), Fd(pipe[1])};
  EXPECT_THAT(failure_of([&] { cli::RawTerminal raw(pipe[0]); }).second, HasSubstr("no terminal"));
  EXPECT_FALSE(cli::terminal_size(pipe[0]));
}

cli::RunOptions parsed(std::vector<const char*> words) {
  words.insert(words.begin(), "tare");
  return cli::parse(static_cast<int>(words.size()), words.data()).value().instance_run;
}

Workload workload_of(const cli::RunOptions& run, const std::optional<TerminalSize>& size = {}) {
  return start_instance_from(cli::run_body(run, size)).workload;
}

TEST(RunBody, EveryOptionBecomesTheWorkloadsKey) {
  const Workload w = workload_of(parsed({"run",
                                         "-itu",
                                         "web:5",
                                         "--umask",
                                         "027",
                                         "--ulimit",
                                         "nofile=10:20",
                                         "--ulimit",
                                         "core=unlimited",
                                         "-v",
                                         "/src:/dst:ro",
                                         "-v",
                                         "data:/data",
                                         "--mount",
                                         "type=tmpfs,target=/tmp,size=1MiB",
                                         "--tmpfs",
                                         "/run:size=2MiB,ro",
                                         "--read-only",
                                         "--device",
                                         "/dev/fuse",
                                         "--init",
                                         "-w",
                                         "/w",
                                         "-eA=1",
                                         "--hostname",
                                         "h",
                                         "--vm-profile",
                                         "tuned",
                                         "image",
                                         "cmd",
                                         "-i",
                                         "--init"}),
                                 TerminalSize{24, 80});
  EXPECT_TRUE(w.open_stdin && w.tty && w.init && w.read_only_root);
  EXPECT_EQ(w.terminal, (TerminalSize{24, 80}));
  EXPECT_EQ(w.user, "web:5");
  EXPECT_EQ(w.umask, 027U);
  EXPECT_THAT(w.ulimits, ElementsAre(Ulimit{"nofile", 10, 20}, Ulimit{"core", kNoLimit, kNoLimit}));
  EXPECT_THAT(w.mounts,
              ElementsAre(Mount{Mount::Type::bind, "/src", "/dst", true, {}}, Mount{Mount::Type::volume, "data", "/data", false, {}},
                          Mount{Mount::Type::tmpfs, "", "/tmp", false, 1_MiB}, Mount{Mount::Type::tmpfs, "", "/run", true, 2_MiB}));
  EXPECT_THAT(w.devices, ElementsAre("/dev/fuse"));
  EXPECT_THAT(w.command, ElementsAre("cmd", "-i", "--init"));
  EXPECT_THAT(w.environment, ElementsAre("A=1"));
  EXPECT_EQ(w.vm_profile, VmProfile::tuned);
}

TEST(RunBody, ATerminalsSizeIsNothingWithoutATerminal) {
  EXPECT_EQ(workload_of(parsed({"run", "-i", "image"}), TerminalSize{24, 80}).terminal, TerminalSize{});
}

TEST(RunBody, WhatCannotBeTakenApartIsAUsageError) {
  for (const std::vector<const char*>& words : {std::vector<const char*>{"run", "-v", "one", "image"},
                                                {"run", "-v", "a:b:c", "image"},
                                                {"run", "--ulimit", "nofile", "image"},
                                                {"run", "--mount", "kind=bind", "image"},
                                                {"run", "--tmpfs", "/x:speed=9", "image"},
                                                {"run", "-p", "80", "image"}}) {
    EXPECT_EQ(failure_of([&] { cli::run_body(parsed(words), {}); }).first, Code::usage) << words[2];
  }
}

TEST(ExecRequestFrom, HasTheKeysOfAWorkload) {
  const ExecRequest request = exec_request_from(
      cli::exec_body(parsed({"exec", "-it", "-u", "5", "-w", "/tmp", "-e", "A=b", "web", "sh", "-c", "x"}), TerminalSize{1, 2}));
  EXPECT_THAT(request.command, ElementsAre("sh", "-c", "x"));
  EXPECT_EQ(request.user, "5");
  EXPECT_EQ(request.working_directory, "/tmp");
  EXPECT_THAT(request.environment, ElementsAre("A=b"));
  EXPECT_TRUE(request.open_stdin && request.tty);
  EXPECT_EQ(request.terminal, (TerminalSize{1, 2}));
  EXPECT_THAT(failure_of([] { exec_request_from(R"({"comand": ["x"]})"); }).second, HasSubstr("did you mean 'command'?"));
  EXPECT_THAT(failure_of([] { exec_request_from(R"({"command": ["x"], "image": "y"})"); }).second, HasSubstr("unknown key 'image'"));
  EXPECT_THAT(failure_of([] { exec_request_from("{}"); }).second, HasSubstr("'command' is missing"));
}

/// Takes so many bytes and no more.
class NarrowInput final : public Input {
 public:
  std::size_t write(std::string_view bytes) override {
    const std::size_t taken = std::min(bytes.size(), room);
    room -= taken;
    got += bytes.substr(0, taken);
    return taken;
  }
  void close() override { got += "|"; }
  void resize(TerminalSize) override {}
  std::size_t room = 0;
  std::string got;
};

TEST(Feeder, KeepsWhatIsNotTakenAndTheEndComesAfterIt) {
  NarrowInput input;
  Feeder feeder(&input);
  input.room = 3;
  feeder.add("abcdef");
  feeder.end();
  EXPECT_EQ(input.got, "abc");
  EXPECT_FALSE(feeder.drained());
  input.room = 100;
  EXPECT_TRUE(feeder.drained());
  EXPECT_EQ(input.got, "abcdef|");
  feeder.add("on");  // a terminal is typed on
  EXPECT_EQ(input.got, "abcdef|on");
  Feeder nobody(nullptr);
  nobody.add("x");
  EXPECT_TRUE(nobody.drained());
}

}  // namespace
}  // namespace tare::agent
