// SPDX-License-Identifier: Apache-2.0
// What goes into a native process: stdin, terminals, further processes with them, and the PID 1 that a workload may ask for.
#include <atomic>
#include <csignal>
#include <random>
#include <thread>

#include "container/protocol.h"
#include "tests/integration/container_fixture.h"
#include "tests/support/busybox_image.h"
#include "tests/support/failure_of.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class StreamsTest : public ::testing::TestWithParam<Native>, public NativeFixture {
 protected:
  std::unique_ptr<Instance> start(const std::string& script, const std::function<void(Workload&)>& change = {}) {
    return start_command({"sh", "-c", script}, change);
  }
  std::unique_ptr<Instance> start_command(std::vector<std::string> command, const std::function<void(Workload&)>& change = {}) {
    Workload workload;
    workload.name = "streams";
    workload.image = image_.reference();
    workload.command = std::move(command);
    if (change) change(workload);
    timelines_.push_back(std::make_unique<Timeline>());
    return make_backend(GetParam(), parts)->start(workload, *timelines_.back());
  }
  static void with_stdin(Workload& workload) { workload.open_stdin = true; }
  static void with_terminal(Workload& workload) {
    workload.tty = true;
    workload.terminal = {24, 80};
  }
  static void with_init(Workload& workload) { workload.init = true; }

  /// All that the log has now, lines and what is unfinished.
  static std::string text(const Log& log) {
    LogCursor cursor;
    std::string text;
    for (;;) {
      const auto pieces = log.read(cursor);
      if (pieces.empty()) return text;
      for (const LogPiece& piece : pieces) text += piece.bytes;
    }
  }
  static bool says(const Log& log, const std::string& what) {
    return eventually([&] { return text(log).find(what) != std::string::npos; });
  }
  /// Writes all of it, waiting for room.
  static void feed(Input& input, std::string_view bytes) {
    std::mutex mutex;
    std::condition_variable changed;
    bool fresh = false;
    const auto watcher = input.watch([&] {
      const std::lock_guard lock(mutex);
      fresh = true;
      changed.notify_all();
    });
    while (!bytes.empty()) {
      const std::size_t taken = input.write(bytes);
      bytes.remove_prefix(taken);
      std::unique_lock lock(mutex);
      if (taken == 0 && !changed.wait_for(lock, 20s, [&] { return fresh; })) break;
      fresh = false;
    }
    input.unwatch(watcher);
    EXPECT_TRUE(bytes.empty()) << bytes.size() << " bytes found no room";
  }
  static std::string random_bytes(std::size_t size) {
    std::mt19937_64 random(7);
    std::string bytes;
    bytes.reserve(size + 8);
    while (bytes.size() < size) {
      const std::uint64_t word = random();
      bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    return bytes.substr(0, size);
  }
  /// Follows the log to its end.
  static std::string follow(const Log& log) {
    EXPECT_TRUE(log.follow());
    LogCursor cursor{.follows = true};
    std::string text;
    for (;;) {
      const bool closed = log.closed();
      const auto pieces = log.read(cursor);
      for (const LogPiece& piece : pieces) text += piece.bytes;
      if (pieces.empty() && closed) return text;
      if (pieces.empty()) log.wait_for_line(cursor.line, Deadline::in(50ms));
    }
  }

  test::BusyboxImage image_;
  std::vector<std::unique_ptr<Timeline>> timelines_;
};
/// metal has the host's console and terminals.
class ContainerStreams : public StreamsTest {};

TEST_P(StreamsTest, WithoutIsDevNullAndNothingToWriteTo) {
  const auto instance = start("cat; tty; echo end");
  EXPECT_EQ(instance->input(), nullptr);
  EXPECT_TRUE(instance->log().wait_closed(Deadline::in(10s)));
  EXPECT_EQ(instance->log().text(Stream::out), "not a tty\nend\n");
}

TEST_P(StreamsTest, TenMegabytesGoThroughStdinByteForByte) {
  const std::string bytes = random_bytes(10'000'000);
  const auto instance = start_command({"cat"}, with_stdin);
  std::thread feeder([&] {
    feed(*instance->input(), bytes);
    instance->input()->close();
  });
  const std::string out = follow(instance->log());
  feeder.join();
  EXPECT_TRUE(out == bytes) << out.size();
  EXPECT_EQ(instance->wait(Deadline::in(10s)), (Exit{0, false, false}));
  EXPECT_EQ(instance->input()->write("late"), 4U);  // dropped
}

TEST_P(StreamsTest, WhoDoesNotReadHoldsNobodyUp) {
  const auto deaf = start("echo up; sleep 1000", with_stdin);
  ASSERT_TRUE(says(deaf->log(), "up\n"));
  const std::string much(kInputWindow, 'x');
  std::size_t taken = 0;
  for (int i = 0; i < 50; ++i) {
    taken += deaf->input()->write(much);
    std::this_thread::sleep_for(2ms);
  }
  EXPECT_GT(taken, 32'000U);
  EXPECT_LE(taken, kInputWindow + (1 << 20));  // and the pipe's
  const auto other = start("cat", with_stdin);
  other->input()->write("still here");
  other->input()->close();
  EXPECT_EQ(other->wait(Deadline::in(10s)), (Exit{0, false, false}));
  EXPECT_EQ(deaf->exec({"echo", "alive"}, Deadline::in(10s)).out, "alive\n");
}

TEST_P(StreamsTest, WhoClosesItsStdinDropsTheRest) {
  const auto instance = start("exec 0</dev/null; echo up; sleep 1000", with_stdin);
  ASSERT_TRUE(says(instance->log(), "up\n"));
  feed(*instance->input(), std::string(3'000'000, 'x'));
}

TEST_P(StreamsTest, ATerminalIsOneOfTheInstanceAndHasASize) {
  const auto instance = start("tty; stty size; test -t 1 && echo terminal; echo $TERM; echo to err >&2", with_terminal);
  ASSERT_TRUE(instance->log().wait_closed(Deadline::in(10s)));
  EXPECT_TRUE(instance->log().text(Stream::err).empty());
  EXPECT_THAT(instance->log().text(Stream::out), ::testing::MatchesRegex("/dev/pts/[0-9]+\r\n24 80\r\nterminal\r\nxterm\r\nto err\r\n"));
  EXPECT_EQ(instance->wait(Deadline::in(10s)), (Exit{0, false, false}));
}

TEST_P(ContainerStreams, TheConsoleIsThatTerminal) {
  const auto instance = start("tty; echo to console > /dev/console; ls /dev/pts", with_terminal);
  ASSERT_TRUE(instance->log().wait_closed(Deadline::in(10s)));
  EXPECT_THAT(instance->log().text(Stream::out), ::testing::StartsWith("/dev/pts/0\r\nto console\r\n"));
}

TEST_P(StreamsTest, ANewSizeIsToldToTheForegroundGroup) {
  const auto instance = start("trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done", with_terminal);
  ASSERT_TRUE(says(instance->log(), "up"));
  instance->input()->resize({33, 99});
  EXPECT_TRUE(says(instance->log(), "33 99")) << text(instance->log());
}

TEST_P(StreamsTest, ControlCReachesTheForegroundGroup) {
  const auto instance = start("trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.02; done", with_terminal);
  ASSERT_TRUE(says(instance->log(), "up"));
  feed(*instance->input(), "\x03");
  EXPECT_EQ(instance->wait(Deadline::in(10s)), (Exit{3, false, false}));
  EXPECT_TRUE(says(instance->log(), "caught"));
}

TEST_P(StreamsTest, ATerminalTypesItsEndAndIsTypedOnAfterwards) {
  const auto instance = start("cat; echo over; read line; echo got $line", with_terminal);
  feed(*instance->input(), "hello\n");
  ASSERT_TRUE(says(instance->log(), "hello\r\nhello\r\n"));  // the echo, and cat's
  instance->input()->close();
  ASSERT_TRUE(says(instance->log(), "over\r\n"));
  feed(*instance->input(), "more\n");
  EXPECT_TRUE(says(instance->log(), "got more\r\n"));
  EXPECT_EQ(instance->wait(Deadline::in(10s)), (Exit{0, false, false}));
}

TEST_P(StreamsTest, TheLastLinesOfATerminalAreNotLost) {
  for (int i = 0; i < 20; ++i) {
    const auto instance = start("seq 1 3000; echo last", with_terminal);
    ASSERT_TRUE(instance->log().wait_closed(Deadline::in(10s)));
    const std::string out = instance->log().text(Stream::out);
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 3001);
    EXPECT_TRUE(out.ends_with("3000\r\nlast\r\n"));
  }
}

TEST_P(StreamsTest, AUserOwnsItsTerminal) {
  const auto instance = start("id -u; echo again > $(tty); test -O $(tty) && echo mine", [](Workload& workload) {
    with_terminal(workload);
    workload.user = "1000:1000";
  });
  ASSERT_TRUE(instance->log().wait_closed(Deadline::in(10s)));
  EXPECT_EQ(instance->log().text(Stream::out), "1000\r\nagain\r\nmine\r\n");
}

TEST_P(StreamsTest, ExecHasStdinDirectoryEnvironmentAndUser) {
  const auto instance = start("sleep 1000", [](Workload& workload) { workload.environment = {"A=1", "B=2"}; });
  const auto exec = instance->start_exec({.command = {"sh", "-c", "id -u; id -g; pwd; echo $A $B $C $HOME; cat"},
                                          .user = "12:34",
                                          .working_directory = "/tmp",
                                          .environment = {"B=3", "C=4"},
                                          .open_stdin = true},
                                         Deadline::in(10s));
  feed(*exec->input(), "fed");
  exec->input()->close();
  ASSERT_TRUE(exec->log().wait_closed(Deadline::in(10s)));
  EXPECT_EQ(text(exec->log()), "12\n34\n/tmp\n1 3 4 /\nfed");
  EXPECT_EQ(exec->wait(Deadline::in(1s)), (Exit{0, false, false}));
  const auto [code, sentence] = failure_of([&] { instance->start_exec({.command = {"true"}, .user = "nobody-here"}, Deadline::in(10s)); });
  EXPECT_THAT(sentence, HasSubstr("nobody-here"));
}

TEST_P(StreamsTest, ExecStreamsWhileItRunsAndEndsWithItsOwner) {
  const auto instance = start("sleep 1000");
  {
    const auto exec = instance->start_exec(
        {.command = {"sh", "-c", "echo first; read line; echo got $line; sleep 1000"}, .open_stdin = true}, Deadline::in(10s));
    ASSERT_TRUE(says(exec->log(), "first\n"));
    feed(*exec->input(), "word\n");
    ASSERT_TRUE(says(exec->log(), "got word\n"));
    EXPECT_EQ(exec->wait(Deadline::in(0ns)), std::nullopt);
    EXPECT_FALSE(exec->log().closed());
  }
  EXPECT_TRUE(eventually([&] {
                return instance->exec({"sh", "-c", "ps -o args | grep -c '[g]ot'"}, Deadline::in(10s)).out == "0\n";
              }) ||
              GetParam() == Native::metal);
}

TEST_P(StreamsTest, ExecTakesTenMegabytesThroughStdin) {
  const std::string bytes = random_bytes(10'000'000);
  const auto instance = start("sleep 1000");
  const auto exec = instance->start_exec({.command = {"cat"}, .open_stdin = true}, Deadline::in(10s));
  std::thread feeder([&] {
    feed(*exec->input(), bytes);
    exec->input()->close();
  });
  const std::string out = follow(exec->log());
  feeder.join();
  EXPECT_TRUE(out == bytes) << out.size();
}

TEST_P(StreamsTest, ExecHasATerminalOfItsOwn) {
  const auto instance = start("tty; sleep 1000", with_terminal);
  const auto exec =
      instance->start_exec({.command = {"sh"}, .environment = {"PS1=> "}, .tty = true, .terminal = {11, 22}}, Deadline::in(10s));
  feed(*exec->input(), "stty size\n");
  ASSERT_TRUE(says(exec->log(), "11 22")) << text(exec->log());
  exec->input()->resize({12, 34});
  feed(*exec->input(), "stty size; tty\n");
  ASSERT_TRUE(says(exec->log(), "12 34"));
  ASSERT_TRUE(says(exec->log(), "/dev/pts/"));
  // Control-d, to a shell at its prompt too.
  ASSERT_TRUE(eventually([&] { return text(exec->log()).ends_with("> \x1b[6n"); })) << text(exec->log());  // it asks where the cursor is
  exec->input()->close();
  EXPECT_EQ(exec->wait(Deadline::in(10s)), (Exit{0, false, false}));
  EXPECT_TRUE(exec->log().wait_closed(Deadline::in(10s)));
}

TEST_P(StreamsTest, AParkedProcessHasItsStreamsToo) {
  Workload workload;
  workload.name = "parked";
  workload.image = image_.reference();
  workload.command = {"sh", "-c", "test -t 0 && echo terminal; read x; echo got $x"};
  workload.start = Start::zygote;
  for (const bool tty : {false, true}) {
    workload.open_stdin = !tty;
    workload.tty = tty;
    const auto backend = make_backend(GetParam(), parts);
    backend->prepare(workload);
    Timeline timeline;
    const auto instance = backend->start(workload, timeline);
    feed(*instance->input(), "word\n");
    ASSERT_TRUE(instance->log().wait_closed(Deadline::in(10s)));
    EXPECT_THAT(instance->log().text(Stream::out), ::testing::EndsWith(tty ? "got word\r\n" : "got word\n"));
    EXPECT_EQ(instance->log().text(Stream::out).find("terminal") != std::string::npos, tty);
    instance->remove();
  }
}

// The shadow of CVE-2025-52565: what lies at /dev/pts/ptmx of a running instance is its own doing.
TEST_P(ContainerStreams, ATerminalIsNotTakenFromWhatTheInstancePutThere) {
  const auto instance = start("mount -t tmpfs none /dev/pts && echo > /dev/pts/ptmx; echo up; sleep 1000",
                              [](Workload& workload) { workload.security = Security::none; });
  ASSERT_TRUE(says(instance->log(), "up\n"));
  const auto [code, sentence] = failure_of([&] { instance->start_exec({.command = {"true"}, .tty = true}, Deadline::in(10s)); });
  EXPECT_THAT(sentence, HasSubstr("terminal"));
}

// PID 1 --------------------------------------------------------------------------------------------------------------------------

TEST_P(StreamsTest, InitGivesTheCommandsExitCode) {
  EXPECT_EQ(start("exit 7", with_init)->wait(Deadline::in(10s)), (Exit{7, false, false}));
  EXPECT_EQ(start("kill -9 $$", with_init)->wait(Deadline::in(10s)), (Exit{137, false, false}));
}

TEST_P(StreamsTest, InitHandsSignalsOnToAProgramWithoutHandlers) {
  const auto plain = start_command({"sleep", "1000"}, with_init);
  const auto begin = Instant::now();
  EXPECT_EQ(plain->stop(10s), (Exit{143, false, false}));
  EXPECT_LT(Instant::now() - begin, 5s);
  const auto handler = start("trap 'echo caught; exit 9' USR1; echo up; while :; do sleep 0.02; done", with_init);
  ASSERT_TRUE(says(handler->log(), "up\n"));
  handler->signal(SIGUSR1);
  EXPECT_EQ(handler->wait(Deadline::in(10s)), (Exit{9, false, false}));
}

TEST_P(StreamsTest, InitReapsAHundredOrphans) {
  // Each sleep loses its parent at once; a zombie whose parent is the first process would stay.
  const auto instance = start(
      "i=0; while [ $i -lt 100 ]; do (sleep 0.05 &); i=$((i+1)); done; sleep 0.6; "
      "grep -l \") Z $PPID \" /proc/[0-9]*/stat 2>/dev/null | wc -l; echo $PPID; sleep 1000; true",
      with_init);
  ASSERT_TRUE(instance->log().wait_for_line(1, Deadline::in(20s)));
  const std::string out = instance->log().text(Stream::out);
  EXPECT_TRUE(out.starts_with("0\n")) << out;
  if (GetParam() == Native::container) {
    EXPECT_EQ(out, "0\n1\n");
  }
  // init, the shell, its last sleep
  EXPECT_TRUE(eventually([&] { return instance->usage().processes == 3U; })) << instance->exec({"ps"}, Deadline::in(5s)).out;
}

TEST_P(StreamsTest, InitIsOursAndTheStartIsStillTheCommands) {
  const auto instance = start("cat /proc/$PPID/comm; sleep 1000", with_init);
  EXPECT_TRUE(says(instance->log(), "tare-init\n"));
  ASSERT_TRUE(timelines_.back()->at(Mark::executed));
  EXPECT_THAT(instance->exec({"sh", "-c", "echo in $$"}, Deadline::in(10s)).out, HasSubstr("in "));
  const auto [code, sentence] = failure_of([&] { start_command({"/job/not-executable"}, with_init); });
  EXPECT_THAT(sentence, HasSubstr("not-executable"));
}

TEST_P(StreamsTest, InitLeavesTheTerminalToTheCommand) {
  const auto instance = start("trap 'echo caught; exit 4' INT; echo up; while :; do sleep 0.02; done", [](Workload& workload) {
    with_terminal(workload);
    with_init(workload);
  });
  ASSERT_TRUE(says(instance->log(), "up"));
  feed(*instance->input(), "\x03");
  EXPECT_EQ(instance->wait(Deadline::in(10s)), (Exit{4, false, false}));
}

TEST_P(StreamsTest, NothingIsLeftOfThem) {
  {
    const auto instance = start("sleep 1000", with_terminal);
    const auto exec = instance->start_exec({.command = {"sleep", "1000"}, .tty = true}, Deadline::in(10s));
    const auto piped = instance->start_exec({.command = {"cat"}, .open_stdin = true}, Deadline::in(10s));
  }
  EXPECT_TRUE(groups->left().empty());
  const auto descriptors = [&] {
    return std::distance(std::filesystem::directory_iterator("/proc/" + std::to_string(parts.launcher->pid()) + "/fd"), {});
  };
  const auto before = descriptors();
  for (int i = 0; i < 5; ++i) {
    const auto instance = start("sleep 1000", i % 2 == 0 ? with_terminal : with_stdin);
    instance->exec({"true"}, Deadline::in(10s));
  }
  EXPECT_TRUE(eventually([&] { return descriptors() == before; })) << before << " and now " << descriptors();
}

INSTANTIATE_TEST_SUITE_P(Native, ContainerStreams, ::testing::Values(Native::container));
INSTANTIATE_TEST_SUITE_P(Native, StreamsTest, ::testing::Values(Native::metal, Native::container),
                         [](const auto& parameter) { return std::string(name_of(parameter.param)); });

}  // namespace
}  // namespace tare::container
