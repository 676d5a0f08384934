// SPDX-License-Identifier: Apache-2.0
// What every backend promises of the streams of its processes, of whom they run as, and of the processes that exec adds.
#include <signal.h>

#include <algorithm>
#include <future>
#include <thread>

#include "core/error.h"
#include "tests/contract/backend_contract.h"
#include "tests/support/failure_of.h"

namespace tare::contract {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

/// All that the log has now, lines and what is unfinished.
std::string text_of(const Log& log) {
  LogCursor cursor;
  std::string text;
  for (auto pieces = log.read(cursor); !pieces.empty(); pieces = log.read(cursor)) {
    for (const LogPiece& piece : pieces) text += piece.bytes;
  }
  return text;
}

bool says(const Log& log, const std::string& what) {
  for (const Deadline deadline = soon(); !deadline.passed(); std::this_thread::sleep_for(milliseconds(5))) {
    if (text_of(log).find(what) != std::string::npos) return true;
  }
  return false;
}

/// Follows the log to its end.
std::string follow(const Log& log) {
  EXPECT_TRUE(log.follow());
  LogCursor cursor{.follows = true};
  std::string text;
  for (bool closed = false; !closed;) {
    closed = log.closed();
    for (auto pieces = log.read(cursor); !pieces.empty(); pieces = log.read(cursor)) {
      for (const LogPiece& piece : pieces) text += piece.bytes;
    }
    if (!closed) log.wait_for_line(cursor.line, Deadline::in(milliseconds(20)));
  }
  return text;
}

/// Writes all of it and then the end, waiting for room.
void feed(Input& input, std::string_view bytes) {
  for (const Deadline deadline = soon(); !bytes.empty() && !deadline.passed();) {
    const std::size_t taken = input.write(bytes);
    bytes.remove_prefix(taken);
    if (taken == 0) std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(bytes.empty()) << bytes.size() << " bytes found no room";
  input.close();
}

std::string numbers(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::to_string(i) + "\n";
  return text;
}

TEST_P(BackendContract, WithoutStdinItReadsAnEndAndThereIsNothingToWriteTo) {
  const auto instance = start(shell("cat; tty; echo end"));
  EXPECT_EQ(instance->input(), nullptr);
  EXPECT_TRUE(instance->log().wait_closed(soon()));
  EXPECT_EQ(instance->log().text(Stream::out), "not a tty\nend\n");
}

TEST_P(BackendContract, StdinIsReadToItsEnd) {
  Workload workload = shell("cat; echo end");
  workload.open_stdin = true;
  const auto instance = start(workload);
  EXPECT_EQ(instance->input()->write("some\n"), 5U);
  EXPECT_TRUE(instance->log().wait_for_line(0, soon()));
  instance->input()->close();
  EXPECT_EQ(instance->wait(soon()), (Exit{0, false, false}));
  EXPECT_TRUE(instance->log().wait_closed(soon()));
  EXPECT_EQ(instance->log().text(Stream::out), "some\nend\n");
}

TEST_P(BackendContract, AMegabyteGoesThroughStdinByteForByteAndAReaderThatIsSlowLosesNothing) {
  const std::string bytes = numbers(160'000);
  Workload workload = shell("usleep 200000; cat");
  workload.open_stdin = true;
  const auto instance = start(workload);
  std::thread feeder([&] { feed(*instance->input(), bytes); });
  const std::string out = follow(instance->log());
  feeder.join();
  EXPECT_TRUE(out == bytes) << out.size() << " of " << bytes.size();
  EXPECT_EQ(instance->wait(soon()), (Exit{0, false, false}));
}

TEST_P(BackendContract, ATerminalIsOneHasASizeAndFollowsAnother) {
  Workload workload = shell("trap 'stty size' WINCH; test -t 0 && test -t 1 && stty size; while read l; do echo got $l; done; exit 6");
  workload.tty = true;
  workload.terminal = {24, 80};
  const auto instance = start(workload);
  EXPECT_TRUE(says(instance->log(), "24 80\r\n")) << text_of(instance->log());
  instance->input()->write("typed\n");
  EXPECT_TRUE(says(instance->log(), "typed\r\ngot typed\r\n")) << text_of(instance->log());
  instance->input()->resize({33, 99});
  instance->input()->write("again\n");  // a shell tells of a signal when its read is over
  EXPECT_TRUE(says(instance->log(), "33 99\r\n")) << text_of(instance->log());
  instance->input()->close();  // types the end
  EXPECT_EQ(instance->wait(soon()), (Exit{6, false, false})) << text_of(instance->log());
}

TEST_P(BackendContract, AUserOfTheImageHasItsGroupsHomeAndStreamsAndNoCapabilities) {
  Workload workload = shell(
      "id -u; id -g; id -G; echo $HOME; umask; ulimit -n; ulimit -Hn; ulimit -c; grep CapEff /proc/self/status; echo x > /dev/stdout; "
      "touch /root-only 2>/dev/null || echo refused");
  workload.user = "weigher";
  workload.umask = 027;
  workload.ulimits = {{"nofile", 100, 200}};
  std::string out;
  EXPECT_TRUE(run(workload, &out).ok());
  EXPECT_EQ(out, "7\n8\n8 9\n/home/weigher\n0027\n100\n200\n0\nCapEff:\t0000000000000000\nx\nrefused\n");
}

TEST_P(BackendContract, RootHasGroupZeroAndTheStandardLimits) {
  std::string out;
  EXPECT_TRUE(run(shell("id -u; id -G; umask; ulimit -n; ulimit -c"), &out).ok());
  EXPECT_EQ(out, "0\n0\n0022\n1024\n0\n");
}

TEST_P(BackendContract, AUserThatTheImageDoesNotHaveIsNamed) {
  Workload workload = shell("true");
  workload.user = "nobody-here";
  const auto [code, sentence] = failure_of([&] { start(workload); });
  EXPECT_EQ(code, Code::not_found);
  EXPECT_THAT(sentence, HasSubstr("nobody-here"));
}

TEST_P(BackendContract, ATerminalBelongsToItsUser) {
  Workload workload = shell("ls -ln $(tty) | { read mode links uid gid rest; echo $uid; }; echo x > $(tty) && echo written");
  workload.user = "7:8";
  workload.tty = true;
  std::string out;
  EXPECT_TRUE(run(workload, &out).ok());
  EXPECT_EQ(out, "7\r\nx\r\nwritten\r\n");
}

TEST_P(BackendContract, ExecHasStdinUserDirectoryAndVariables) {
  const auto instance = start(shell("sleep 1000"));
  const auto exec = instance->start_exec({.command = {"sh", "-c", "id -u; id -G; pwd; echo $HOME $A; cat; echo err >&2; exit 4"},
                                          .user = "weigher",
                                          .working_directory = "/tmp",
                                          .environment = {"A=b c"},
                                          .open_stdin = true},
                                         soon());
  feed(*exec->input(), "fed\n");
  EXPECT_EQ(exec->wait(soon()), (Exit{4, false, false}));
  EXPECT_TRUE(exec->log().wait_closed(soon()));
  EXPECT_EQ(exec->log().text(Stream::out), "7\n8 9\n/tmp\n/home/weigher b c\nfed\n");
  EXPECT_EQ(exec->log().text(Stream::err), "err\n");
}

TEST_P(BackendContract, ExecHasATerminalOfItsOwn) {
  const auto instance = start(shell("sleep 1000"));
  const auto exec =
      instance->start_exec({.command = {"sh", "-c", "stty size; tty; read l; stty size; echo $TERM; while :; do sleep 1; done"},
                            .tty = true,
                            .terminal = {10, 20}},
                           soon());
  EXPECT_TRUE(says(exec->log(), "10 20\r\n/dev/pts/")) << text_of(exec->log());
  exec->input()->resize({11, 21});
  exec->input()->write("go\n");
  EXPECT_TRUE(says(exec->log(), "11 21\r\nxterm\r\n")) << text_of(exec->log());
  exec->input()->write("\x03");
  EXPECT_EQ(exec->wait(soon()).value().status(), 128 + SIGINT);
}

TEST_P(BackendContract, ExecsAtOnceDoNotMeetAndTakeSignals) {
  const auto instance = start(shell("sleep 1000"));
  const auto listener =
      instance->start_exec({.command = {"sh", "-c", "trap 'echo caught; exit 7' TERM; echo up; while :; do usleep 10000; done"}}, soon());
  std::vector<std::future<std::string>> outputs;
  for (int i = 0; i < 4; ++i) {
    outputs.push_back(std::async(std::launch::async, [&instance, i] {
      const auto exec = instance->start_exec({.command = {"cat"}, .open_stdin = true}, soon());
      std::thread feeder([&] { feed(*exec->input(), numbers(1000 * (i + 1))); });
      std::string out = follow(exec->log());
      feeder.join();
      return out;
    }));
  }
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(outputs[static_cast<std::size_t>(i)].get() == numbers(1000 * (i + 1))) << i;
  EXPECT_TRUE(says(listener->log(), "up\n"));
  listener->signal(SIGTERM);
  EXPECT_EQ(listener->wait(soon()), (Exit{7, false, false}));
  EXPECT_TRUE(listener->log().wait_closed(soon()));
  EXPECT_EQ(listener->log().text(Stream::out), "up\ncaught\n");
}

TEST_P(BackendContract, WhoDoesNotReadHoldsUpNobodyElse) {
  const auto instance = start(shell("sleep 1000"));
  const auto unread = instance->start_exec({.command = {"sh", "-c", "seq 1 1000000; touch /tmp/written"}}, soon());
  ASSERT_TRUE(unread->log().follow());  // and reads nothing
  const auto deaf = instance->start_exec({.command = {"sleep", "1000"}, .open_stdin = true}, soon());
  while (deaf->input()->write(std::string(100'000, 'x')) > 0) continue;
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(instance->exec({"sh", "-c", "test -e /tmp/written || echo it waits"}, soon()).out, "it waits\n");
  unread->log().unfollow();  // now nobody needs to be waited for
  EXPECT_EQ(unread->wait(soon()), (Exit{0, false, false}));
  EXPECT_EQ(instance->exec({"ls", "/tmp"}, soon()).out, "written\n");
}

TEST_P(BackendContract, AnExecEndsWithItsOwner) {
  const auto instance = start(shell("sleep 1000"));
  { instance->start_exec({.command = {"sleep", "1234"}}, soon()); }
  for (const Deadline deadline = soon(); !deadline.passed();) {
    if (instance->exec({"ps"}, soon()).out.find("sleep 1234") == std::string::npos) return;
  }
  ADD_FAILURE() << "it runs on";
}

TEST_P(BackendContract, InitReapsOrphans) {
  Workload workload = shell("for i in 1 2 3 4 5; do (true & ); done; usleep 300000; ps -o stat | grep -c Z; echo end");
  workload.init = true;
  std::string out;
  EXPECT_TRUE(run(workload, &out).ok());
  if (!is_metal()) {  // which sees the host's own
    EXPECT_EQ(out, "0\nend\n");
  }
}

}  // namespace
}  // namespace tare::contract
