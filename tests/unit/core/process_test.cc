// SPDX-License-Identifier: Apache-2.0
#include "core/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include "core/error.h"
#include "core/files.h"

namespace tare {
namespace {

using std::chrono::seconds;

TEST(RunTool, CapturesBothStreamsAndTheExitCode) {
  const Output output = run_tool({"sh", "-c", "echo out; echo err >&2; exit 3"}, Deadline::in(seconds(10)));
  EXPECT_EQ(output.out, "out\n");
  EXPECT_EQ(output.err, "err\n");
  EXPECT_EQ(output.exit, (Exit{3, false, false}));
}

TEST(RunTool, TakesMoreOutputThanAPipeHolds) {
  const Output output = run_tool({"sh", "-c", "head -c 1000000 /dev/zero; head -c 300000 /dev/zero >&2"}, Deadline::in(seconds(20)));
  EXPECT_EQ(output.out.size(), 1'000'000U);
  EXPECT_EQ(output.err.size(), 300'000U);
}

TEST(RunTool, NamesAProgramThatIsNotThere) {
  try {
    run_tool({"tare-no-such-program"}, Deadline::in(seconds(1)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unavailable);
    EXPECT_NE(error.sentence().find("tare-no-such-program"), std::string::npos);
  }
}

TEST(RunTool, KillsAToolThatTakesTooLong) {
  const Instant start = Instant::now();
  EXPECT_THROW(run_tool({"sleep", "30"}, Deadline::in(std::chrono::milliseconds(50))), Error);
  EXPECT_LT((Instant::now() - start).count(), 10'000'000'000);
}

TEST(RunTool, HasNoDescriptorOfOursButItsStreams) {
  const int ours = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  ASSERT_GE(ours, 3);
  const Output output =
      run_tool({"sh", "-c", "test -e /proc/$$/fd/0 && test ! -e /proc/$$/fd/" + std::to_string(ours)}, Deadline::in(seconds(10)));
  EXPECT_TRUE(output.exit.ok()) << output.err;
  ::close(ours);
}

TEST(CheckTool, QuotesTheLastLineOfTheComplaint) {
  try {
    check_tool({"sh", "-c", "echo first >&2; echo 'no space left' >&2; exit 1"}, Deadline::in(seconds(10)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.sentence(), "sh ended with exit code 1: no space left");
  }
}

TEST(ProcessIdentity, IsOfOneProcessAsLongAsItLives) {
  Child::Options options;
  options.argv = {"sleep", "1000"};
  const Child child = Child::spawn(options);
  const auto identity = process_identity(child.pid());
  ASSERT_TRUE(identity);
  EXPECT_TRUE(is_alive(*identity));
  EXPECT_FALSE(is_alive(*identity + "0"));  // another start time: the id was used again
  child.signal(SIGKILL);
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(is_alive(*identity)) << "a zombie";
  EXPECT_FALSE(process_identity(child.pid()));
}

TEST(ProcessIdentity, OfNothingIsNotAlive) {
  for (const char* text : {"", "0", "-1 5", "x 5", "999999999 5"}) EXPECT_FALSE(is_alive(text)) << text;
}

TEST(Child, IsKilledAndReapedWithItsOwner) {
  pid_t pid = 0;
  {
    Child::Options options;
    options.argv = {"sleep", "1000"};
    const Child child = Child::spawn(options);
    pid = child.pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(Child, InheritsNoDescriptorAndTheGivenEnvironment) {
  const Fd secret = open_file("/etc/passwd", O_RDONLY);
  TempDir dir;
  const Fd out = open_file(dir.path() / "out", O_CREAT | O_RDWR);
  Child::Options options;
  options.argv = {"sh", "-c", "[ -e /proc/$$/fd/$SECRET ] && echo leaked; echo $TARE_TEST"};
  options.extra_environment = {"TARE_TEST=hello", "SECRET=" + std::to_string(secret.get())};
  options.stdout_fd = out.get();
  Child child = Child::spawn(options);
  EXPECT_TRUE(child.wait(Deadline::in(seconds(10)))->ok());
  EXPECT_EQ(read_file(dir.path() / "out"), "hello\n");
}

TEST(Child, TellsASignalFromAnExit) {
  Child::Options options;
  options.argv = {"sh", "-c", "kill -TERM $$"};
  const auto exit = Child::spawn(options).wait(Deadline::in(seconds(10)));
  EXPECT_EQ(exit->status(), 128 + SIGTERM);
  EXPECT_EQ(text_of(*exit), "signal 15 (SIGTERM)");
}

}  // namespace
}  // namespace tare
