// SPDX-License-Identifier: Apache-2.0
// The launcher process: what it keeps when its agent goes, and what it takes along.
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>

#include "container/mount_sources.h"
#include "container/overlay.h"
#include "container/seccomp_program.h"
#include "tests/integration/container_fixture.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class LauncherTest : public ::testing::Test, public NativeFixture {
 protected:
  /// A plan without control groups, straight at the launcher.
  Plan plan(std::vector<std::string> arguments, const Isolation& isolation) {
    const std::string id = new_instance_id();
    const auto home = directory.path() / id;
    for (const char* name : {"upper", "work", "merged"}) std::filesystem::create_directories(home / name);
    Plan plan;
    plan.key = id;
    plan.program = "/bin/w";
    plan.arguments = {"w"};
    plan.arguments.insert(plan.arguments.end(), arguments.begin(), arguments.end());
    roots[id] = mount_overlay({{rootfs}, home, false}, "test");
    plan.root = home / "merged";
    plan.log = home / "log";
    plan.isolation = isolation;
    plan.mounts = mount_plan(isolation, {}, {}, "");
    return plan;
  }
  std::shared_ptr<NativeProcess> run(Launcher& launcher, const Plan& plan, std::chrono::nanoseconds most = 10s) {
    PlanFds fds;
    fds.root = roots.at(plan.key).get();
    fds.seccomp = seccomp_file(plan.isolation);
    const std::vector<Fd> trees = open_trees(plan.mounts, paths, "test");
    for (const Fd& tree : trees) fds.trees.push_back(tree.get());
    return launcher.start(plan, fds, "test", Deadline::in(most));
  }
  std::map<std::string, Fd> roots;
  Isolation isolated() const { return Isolation::container(Security::standard); }
};

bool is_alive(pid_t pid) {
  const auto stat = try_read_file("/proc/" + std::to_string(pid) + "/stat");
  return stat && stat->find(") Z") == std::string::npos;
}

TEST_F(LauncherTest, OutlivesItsAgentAndKeepsExitCodeAndLog) {
  const Plan ends = plan({"later"}, isolated());
  const Plan stays = plan({"pause"}, Isolation::none());
  pid_t launcher_pid = 0;
  {
    const auto first = Launcher::connect(paths);
    launcher_pid = first->pid();
    run(*first, ends);
    run(*first, stays);
  }
  ::usleep(500'000);  // `later` ends while nobody is connected
  {
    const auto second = Launcher::connect(paths);
    EXPECT_EQ(second->pid(), launcher_pid);
    const auto known = second->known();
    ASSERT_EQ(known.size(), 2U);
    for (const auto& process : known) {
      if (process->key() == ends.key) {
        const auto end = process->wait(Deadline::in(1s));
        ASSERT_TRUE(end);
        EXPECT_EQ(end->exit.code, 5);
        EXPECT_EQ(process->log().text(Stream::out), "nobody listens\n");
        EXPECT_TRUE(process->log().closed());
      } else {
        EXPECT_FALSE(process->wait(Deadline::in(0s)));
        EXPECT_TRUE(is_alive(process->pid()));
        second->signal(stays.key, SIGKILL);
        EXPECT_TRUE(process->wait(Deadline::in(5s)));
      }
      second->forget(process->key());
    }
  }
  EXPECT_TRUE(eventually([&] { return !is_alive(launcher_pid); })) << "an idle launcher without an agent ends";
  EXPECT_FALSE(std::filesystem::exists(paths.run / "launcher.sock"));
}

TEST_F(LauncherTest, OnePerRunDirectory) {
  const auto first = Launcher::connect(paths);
  const auto second = Launcher::connect(paths);
  EXPECT_EQ(first->pid(), second->pid());
}

TEST_F(LauncherTest, AStaleSocketIsReplaced) {
  std::filesystem::create_directories(paths.run);
  {
    std::unique_ptr<Launcher> gone = Launcher::connect(paths);
    ::kill(gone->pid(), SIGKILL);
  }
  EXPECT_GT(Launcher::connect(paths)->pid(), 0);
}

TEST_F(LauncherTest, APrivateOneTakesItsWorkloadsAlong) {
  auto launcher = Launcher::start_private(paths);
  const pid_t launcher_pid = launcher->pid();
  const auto process = run(*launcher, plan({"tree"}, Isolation::none()));
  ASSERT_TRUE(process->log().wait_for_line(0, Deadline::in(5s)));
  const pid_t workload = process->pid();
  EXPECT_TRUE(is_alive(workload));
  launcher.reset();
  EXPECT_FALSE(is_alive(workload));
  EXPECT_FALSE(is_alive(launcher_pid));
}

TEST_F(LauncherTest, ItsDeathIsToldToWhoWaits) {
  const auto launcher = Launcher::start_private(paths);
  const auto process = run(*launcher, plan({"pause"}, isolated()));
  ::kill(launcher->pid(), SIGKILL);
  EXPECT_THROW(process->wait(Deadline::in(5s)), Error);
  ::kill(process->pid(), SIGKILL);
  const auto next = run(*launcher, plan({"pause"}, isolated()));  // by a new launcher
  EXPECT_TRUE(is_alive(next->pid()));
}

TEST_F(LauncherTest, OneOfAnotherVersionIsEndedAndNothingOfItIsBelieved) {
  std::filesystem::create_directories(paths.run);
  const pid_t other = ::fork();
  if (other == 0) {
    ::prctl(PR_SET_NAME, "tare-launcher");
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    (paths.run / "launcher.sock").string().copy(address.sun_path, sizeof address.sun_path - 1);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(listener, 1) != 0) ::_exit(1);
    const int connection = ::accept(listener, nullptr, nullptr);
    std::string hello = encode(Hello{kProtocolVersion + 1, ::getpid(), {}});
    hello += "what only that version understands";
    ::send(connection, hello.data(), hello.size(), 0);
    for (;;) ::pause();
  }
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(paths.run / "launcher.sock"); }));
  ::usleep(20'000);  // from bind to listen
  const auto launcher = Launcher::connect(paths);
  EXPECT_NE(launcher->pid(), other);
  int status = 0;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  const auto process = launcher->find_or_gone("t000000000001", (paths.run / "no-log").string());
  try {
    process->wait(Deadline::in(1s));
    FAIL() << "nobody can know how it ended";
  } catch (const Error& e) {
    EXPECT_THAT(e.sentence(), HasSubstr("another version of tare"));
  }
}

double cpu_seconds(pid_t pid) {
  const std::string stat = read_file("/proc/" + std::to_string(pid) + "/schedstat");
  return std::strtod(stat.c_str(), nullptr) / 1e9;
}

TEST_F(LauncherTest, AnAgentThatWasSlowIsToldTheRestAndTheLauncherSleepsAgain) {
  const auto launcher = Launcher::connect(paths);
  const Fd slow(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const int little = 4096;
  ::setsockopt(slow.get(), SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = paths.run / "launcher.sock";
  std::copy(path.begin(), path.end(), address.sun_path);
  ASSERT_EQ(::connect(slow.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);

  // It is told of each piece of output until its socket is full: one notice waits, the next ones are left out.
  const Plan p = plan({"lines", "5000000"}, Isolation::none());
  const auto process = run(*launcher, p);
  while (std::filesystem::file_size(p.log + ".0") < 16 << 20) ::usleep(1000);
  launcher->signal(p.key, SIGSTOP);
  ::usleep(50'000);
  const std::uint64_t written = std::filesystem::file_size(p.log + ".0");

  std::string buffer(kLargestMessage, '\0');
  std::uint64_t told = 0;
  const timeval patience{0, 200'000};
  ::setsockopt(slow.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  for (ssize_t count = 0; (count = ::recv(slow.get(), buffer.data(), buffer.size(), 0)) > 0;) {
    LogGrew grew;
    if (decode(std::string_view(buffer).substr(0, static_cast<std::size_t>(count)), grew)) told = grew.size;
  }
  EXPECT_EQ(told, written);
  const double before = cpu_seconds(launcher->pid());
  ::usleep(300'000);
  EXPECT_LT(cpu_seconds(launcher->pid()) - before, 0.05);
  launcher->signal(p.key, SIGKILL);
  EXPECT_TRUE(process->wait(Deadline::in(10s)));
  launcher->forget(p.key);
}

// Each start would copy them all.
TEST_F(LauncherTest, HasNoMoreOfTheHostsMountsThanItNeeds) {
  const auto in_state = paths.state / "a disk";
  const TempDir elsewhere("/var/tmp");
  std::filesystem::create_directories(in_state);
  ASSERT_EQ(::mount("none", in_state.c_str(), "tmpfs", 0, "size=64k"), 0);
  ASSERT_EQ(::mount("none", elsewhere.path().c_str(), "tmpfs", 0, "size=64k"), 0);
  const auto launcher = Launcher::start_private(paths);
  const std::string table = read_file("/proc/" + std::to_string(launcher->pid()) + "/mountinfo");
  ::umount2(in_state.c_str(), MNT_DETACH);
  ::umount2(elsewhere.path().c_str(), MNT_DETACH);
  EXPECT_THAT(table, HasSubstr(" / /proc "));
  EXPECT_THAT(table, HasSubstr("/a\\040disk "));
  EXPECT_THAT(table, ::testing::Not(HasSubstr(elsewhere.path().string())));
  EXPECT_THAT(table, ::testing::Not(HasSubstr(" / /dev ")));
  EXPECT_THAT(table, ::testing::Not(HasSubstr("shared:")));
}

TEST_F(LauncherTest, StaysSmall) {
  const auto launcher = Launcher::start_private(paths);
  for (int i = 0; i < 20; ++i) {
    const Plan p = plan({"lines", "1000"}, isolated());
    const auto process = run(*launcher, p);
    process->wait(Deadline::in(10s));
    launcher->forget(p.key);
  }
  const std::string status = read_file("/proc/" + std::to_string(launcher->pid()) + "/status");
  const auto at = status.find("VmRSS:");
  ASSERT_NE(at, std::string::npos);
  EXPECT_LE(std::stol(status.substr(at + 6)), 2048);
}

TEST_F(LauncherTest, FullLogsAreBegunAnewWithoutALineLost) {
  const auto launcher = Launcher::start_private(paths);
  Plan p = plan({"lines", "200000"}, isolated());
  p.log_max_size = 256 * 1024;
  p.log_max_files = 3;
  const auto process = run(*launcher, p);
  ASSERT_TRUE(process->wait(Deadline::in(20s)));
  ASSERT_TRUE(process->log().wait_closed(Deadline::in(5s)));
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(p.log).parent_path())) {
    if (!entry.path().filename().string().starts_with("log.")) continue;
    ++files;
    EXPECT_LE(entry.file_size(), 2 * p.log_max_size + 64 * 1024);
  }
  EXPECT_EQ(files, 3U);
  // A reader that comes late finds whole lines in what is kept.
  const auto late = NativeProcess::gone(p.key, p.log, "test");
  const auto lines = late->log().lines();
  ASSERT_GT(lines.size(), 1000U);
  EXPECT_THAT(lines.front().text, HasSubstr("no longer kept"));
  const auto kept = process->log().lines();
  EXPECT_EQ(lines.back().text, kept.back().text);
  EXPECT_THAT(lines[1].text, ::testing::MatchesRegex("line 1....."));
}

TEST_F(LauncherTest, AFullDiskHoldsNobodyUpAndTheLossIsTold) {
  const auto disk = paths.state / "disk";
  std::filesystem::create_directories(disk);
  ASSERT_EQ(::mount("none", disk.c_str(), "tmpfs", 0, "size=64k"), 0);
  const auto launcher = Launcher::start_private(paths);
  Plan p = plan({"lines", "50000"}, isolated());
  p.log = disk / "log";
  const auto process = run(*launcher, p);
  const auto end = process->wait(Deadline::in(20s));
  ASSERT_TRUE(end);
  EXPECT_TRUE(end->exit.ok());
  EXPECT_THAT(process->log().text(Stream::err), HasSubstr("bytes of output are lost: the log could not be written"));
  launcher->forget(p.key);
  ::umount2(disk.c_str(), MNT_DETACH);
}

TEST_F(LauncherTest, GarbageEndsTheConnectionAndNothingElse) {
  const auto good = Launcher::connect(paths);
  const auto process = run(*good, plan({"pause"}, isolated()));
  const Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (paths.run / "launcher.sock").string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  char hello[65536];
  ASSERT_GT(::recv(fd.get(), hello, sizeof hello, 0), 0);
  ASSERT_EQ(::send(fd.get(), "\x01garbage", 8, MSG_NOSIGNAL), 8);
  EXPECT_EQ(::recv(fd.get(), hello, sizeof hello, 0), 0);
  EXPECT_TRUE(is_alive(process->pid()));
  good->signal(process->key(), SIGKILL);
  EXPECT_TRUE(process->wait(Deadline::in(5s)));
  good->forget(process->key());
}

TEST_F(LauncherTest, AKeyIsUsedOnce) {
  const auto launcher = Launcher::start_private(paths);
  const Plan p = plan({"pause"}, isolated());
  run(*launcher, p);
  EXPECT_THROW(run(*launcher, p), Error);
}

}  // namespace
}  // namespace tare::container
