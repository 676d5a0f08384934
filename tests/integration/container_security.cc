// SPDX-License-Identifier: Apache-2.0
// What a hostile image tries against tare itself, and as whom and under which limits a workload runs. Each attempt has to be refused.
#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>

#include "container/mount_sources.h"
#include "container/overlay.h"
#include "container/seccomp_program.h"
#include "core/instance_dir.h"
#include "tests/integration/container_fixture.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class SecurityOfBoth : public ::testing::TestWithParam<Native>, public NativeFixture {
 protected:
  std::unique_ptr<Instance> start(const Workload& w) { return make_backend(GetParam(), parts)->start(w, timeline); }
  std::string refusal(const Workload& w) {
    try {
      start(w);
    } catch (const Error& error) {
      return error.what();
    }
    return "started";
  }
  void users(std::string_view passwd, std::string_view group) const {
    std::filesystem::create_directories(rootfs / "etc");
    std::ofstream(rootfs / "etc/passwd") << passwd;
    std::ofstream(rootfs / "etc/group") << group;
  }
  Timeline timeline;
};
INSTANTIATE_TEST_SUITE_P(Native, SecurityOfBoth, ::testing::Values(Native::metal, Native::container),
                         [](const auto& kind) { return name_of(kind.param); });

// CVE-2024-21626: a descriptor of the host as working directory.
TEST_P(SecurityOfBoth, NoDescriptorOfOursIsAWorkingDirectory) {
  for (int number = 3; number <= 20; ++number) {
    Workload w = workload({"print"});
    w.working_directory = "/proc/self/fd/" + std::to_string(number);
    EXPECT_THAT(refusal(w), HasSubstr("working directory")) << number;
  }
}

// CVE-2019-5736: the program that is found as /proc/self/exe is ours, not the host's file, and nobody can write to it.
TEST_P(SecurityOfBoth, AScriptRunByOurselvesReachesASealedCopyOnly) {
  const auto script = rootfs / "bin/evil";
  std::ofstream(script) << "#!/proc/self/exe\n";
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  const std::string before = read_file(paths.libexec / "tare-launcher");
  Workload w = workload({});
  w.command = {"/bin/evil"};
  const auto instance = start(w);
  const auto exit = instance->wait(Deadline::in(10s));
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->code, 2) << "the launcher's usage";
  EXPECT_TRUE(before == read_file(paths.libexec / "tare-launcher"));
}

TEST_P(SecurityOfBoth, ANamedUserHasItsGroupsAndHomeAndNoCapabilities) {
  users("root:x:0:0::/root:\nwww:x:33:34::/srv/www:\n", "www:x:34:\nlogs:x:4:www\n");
  Workload w = workload({"cat", "/proc/self/status"});
  w.user = "www";
  w.umask = 027;
  const std::string status = output(GetParam(), w);
  EXPECT_THAT(status, AllOf(HasSubstr("Uid:\t33\t33\t33\t33\n"), HasSubstr("Gid:\t34\t34\t34\t34\n"), ContainsRegex("Groups:\t4 34 ?\n"),
                            HasSubstr("Umask:\t0027\n")));
  EXPECT_THAT(status, AllOf(HasSubstr("CapEff:\t0000000000000000\n"), HasSubstr("CapPrm:\t0000000000000000\n")));
  if (GetParam() == Native::container) {
    EXPECT_THAT(status, HasSubstr("CapBnd:\t00000000a80425fb\n"));
  }
  w = workload({"print", "HOME"});
  w.user = "www";
  EXPECT_EQ(output(GetParam(), w), "/\n/srv/www\n");
}

TEST_P(SecurityOfBoth, ExecIsTheSameUser) {
  Workload w = workload({"pause"});
  w.user = "1234:5678";
  const auto instance = start(w);
  EXPECT_THAT(instance->exec({"/bin/w", "cat", "/proc/self/status"}, Deadline::in(10s)).out,
              AllOf(HasSubstr("Uid:\t1234\t"), HasSubstr("Gid:\t5678\t"), HasSubstr("CapEff:\t0000000000000000\n")));
  EXPECT_EQ(instance->protections().at("user"), "uid 1234, gid 5678, groups 5678");
}

TEST_P(SecurityOfBoth, AUserThatWrapsAroundIsRefused) {
  for (const char* user : {"4294967295", "4294967296", "-1", "0x0", "1:2:3", " 1"}) {
    Workload w = workload({"exit", "0"});
    w.user = user;
    EXPECT_THAT(refusal(w), HasSubstr("is no ")) << user;
  }
  Workload w = workload({"exit", "0"});
  w.user = "nobody-here";
  EXPECT_THAT(refusal(w), HasSubstr("'nobody-here' is not in /etc/passwd"));
}

TEST_P(SecurityOfBoth, ResourceLimitsAreTheSameInEachLane) {
  const std::string limits = output(GetParam(), workload({"cat", "/proc/self/limits"}));
  EXPECT_THAT(limits, AllOf(ContainsRegex("Max core file size +0 +0 "), ContainsRegex("Max open files +1024 ")));
  Workload w = workload({"cat", "/proc/self/limits"});
  w.ulimits = {{"nofile", 100, 200}, {"core", 0, 4096}, {"stack", 1 << 20, kNoLimit}};
  w.user = "1000";
  EXPECT_THAT(output(GetParam(), w), AllOf(ContainsRegex("Max core file size +0 +4096 "), ContainsRegex("Max open files +100 +200 "),
                                           ContainsRegex("Max stack size +1048576 +unlimited ")));
}

class SecurityTest : public ::testing::Test, public NativeFixture {
 protected:
  /// Runs the program with this isolation, straight by the launcher, and returns its output.
  std::string run(Launcher& launcher, std::vector<std::string> arguments, const Isolation& isolation, bool with_filter = true) {
    Plan plan;
    plan.key = new_instance_id();
    const auto home = directory.path() / plan.key;
    for (const char* name : {"upper", "work", "merged"}) std::filesystem::create_directories(home / name);
    const Fd root = mount_overlay({{rootfs}, home, false}, "test");
    plan.program = "/bin/w";
    plan.arguments = {"w"};
    plan.arguments.insert(plan.arguments.end(), arguments.begin(), arguments.end());
    plan.root = home / "merged";
    plan.log = home / "log";
    plan.isolation = isolation;
    plan.mounts = mount_plan(isolation, {}, {}, "");
    PlanFds fds;
    fds.root = root.get();
    if (with_filter) fds.seccomp = seccomp_file(isolation);
    const std::vector<Fd> trees = open_trees(plan.mounts, paths, "test");
    for (const Fd& tree : trees) fds.trees.push_back(tree.get());
    const auto process = launcher.start(plan, fds, "test", Deadline::in(10s));
    EXPECT_TRUE(process->wait(Deadline::in(10s)));
    process->log().wait_closed(Deadline::in(5s));
    return process->log().text(Stream::out);
  }
};

TEST_F(SecurityTest, TwoSocketFamiliesAreRefusedByTheFilterAndNoOther) {
  std::istringstream refused(output(Native::container, workload({"refused-families"})));
  std::set<int> families;
  for (int family = 0; refused >> family;) families.insert(family);
  // Those the kernel itself gives to nobody without CAP_NET_ADMIN or CAP_SYS_ADMIN, where it has them: AF_KEY and AF_PHONET.
  families.erase(15);
  families.erase(35);
  EXPECT_EQ(families, (std::set<int>{38, 40}));
  Workload w = workload({"refused-families"});
  w.security = Security::none;
  EXPECT_EQ(output(Native::container, w), "");
}

TEST_F(SecurityTest, StrictHasElevenCapabilities) {
  Workload w = workload({"cat", "/proc/self/status"});
  w.security = Security::strict;
  EXPECT_THAT(output(Native::container, w), AllOf(HasSubstr("CapBnd:\t00000000800405fb\n"), HasSubstr("Seccomp:\t2\n")));
}

TEST_F(SecurityTest, TheLauncherRunsFromASealedCopyThatNobodyCanTrace) {
  auto launcher = Launcher::start_private(paths);
  const std::string process = "/proc/" + std::to_string(launcher->pid());
  const Fd program = open_file(process + "/exe", O_RDONLY);
  EXPECT_EQ(::fcntl(program.get(), F_GET_SEALS) & 0xf, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  const std::string again = "/proc/self/fd/" + std::to_string(program.get());
  EXPECT_LT(::open(again.c_str(), O_WRONLY | O_CLOEXEC), 0);
  EXPECT_EQ(errno, ETXTBSY);
  launcher.reset();
  const Fd writable(::open(again.c_str(), O_WRONLY | O_CLOEXEC));  // it does not run any more
  EXPECT_LT(::pwrite(writable.get(), "x", 1, 0), 0);
  EXPECT_EQ(errno, EPERM);
}

TEST_F(SecurityTest, WithoutTheFilterThatAPlanNamesNothingIsRun) {
  const Isolation isolation = Isolation::container(Security::standard);
  EXPECT_THROW(run(*parts.launcher, {"exit", "0"}, isolation, false), Error);
}

TEST_F(SecurityTest, TheFilterIsThereWithoutNoNewPrivilegesToo) {
  Isolation isolation = Isolation::container(Security::standard);
  isolation.no_new_privileges = false;
  EXPECT_THAT(run(*parts.launcher, {"cat", "/proc/self/status"}, isolation),
              AllOf(HasSubstr("NoNewPrivs:\t0\n"), HasSubstr("Seccomp:\t2\n"), HasSubstr("CapEff:\t00000000a80425fb\n")));
}

TEST_F(SecurityTest, AContainerHasASessionKeyringOfItsOwn) {
  Isolation isolation = Isolation::container(Security::standard);
  isolation.seccomp.clear();  // it refuses the question
  const std::string first = run(*parts.launcher, {"keyring"}, isolation);
  const std::string second = run(*parts.launcher, {"keyring"}, isolation);
  EXPECT_NE(first, second);
  EXPECT_THAT(first, Not(HasSubstr("-1")));
}

TEST_F(SecurityTest, AWorkloadIsNotSparedByTheKillerOfProcessesAsTheAgentIs) {
  const std::string own = read_file("/proc/self/oom_score_adj");
  try {
    write_kernel_file("/proc/self/oom_score_adj", "-100");
  } catch (const Error&) {
    GTEST_SKIP() << "without CAP_SYS_RESOURCE nobody can be spared";
  }
  const auto launcher = Launcher::start_private(paths);
  EXPECT_EQ(run(*launcher, {"cat", "/proc/self/oom_score_adj"}, Isolation::none()), "0\n");
  write_kernel_file("/proc/self/oom_score_adj", own);
}

// CVE-2020-15257: an abstract socket is reached from every workload that shares the network.
TEST_F(SecurityTest, NoSocketOfOursIsAbstract) {
  const auto launcher = Launcher::connect(paths);
  EXPECT_THAT(read_file("/proc/net/unix"), AllOf(HasSubstr("launcher.sock"), Not(ContainsRegex("@[^\n]*tare"))));
  EXPECT_EQ(std::filesystem::status(paths.run / "launcher.sock").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

}  // namespace
}  // namespace tare::container
