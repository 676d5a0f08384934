// SPDX-License-Identifier: Apache-2.0
// What a workload sees besides its image, and that no tree it shares with others leads a mount astray.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "tests/integration/container_fixture.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

class Mounts : public ::testing::TestWithParam<Native>, public NativeFixture {
 protected:
  void SetUp() override {
    fs::create_directory(host);
    std::ofstream(host / "file") << "of the host";
  }
  void TearDown() override { EXPECT_EQ(read_file("/proc/self/mounts"), mounts) << "nothing is mounted on the host, ever"; }

  Workload workload(std::vector<std::string> arguments, std::vector<Mount> of) const {
    Workload w = NativeFixture::workload(std::move(arguments));
    w.mounts = std::move(of);
    return w;
  }
  std::string result(const Workload& w) {
    try {
      return output(GetParam(), w);
    } catch (const Error& error) {
      return error.what();
    }
  }
  /// The line of the mount table for `target`.
  std::string line_of(const std::string& target, std::vector<Mount> of) {
    const std::string table = result(workload({"cat", "/proc/self/mounts"}, std::move(of)));
    const auto at = table.find(" " + target + " ");
    if (at == std::string::npos) return "no such mount in: " + table;
    const auto begin = table.rfind('\n', at) + 1;
    return table.substr(begin, table.find('\n', at) - begin);
  }
  Mount bind(const fs::path& source, const std::string& target, bool read_only = false) const {
    return {Mount::Type::bind, source, target, read_only, {}};
  }

  fs::path host = directory.path() / "host";
  std::string mounts = read_file("/proc/self/mounts");
};
INSTANTIATE_TEST_SUITE_P(Native, Mounts, ::testing::Values(Native::metal, Native::container),
                         [](const auto& kind) { return name_of(kind.param); });

TEST_P(Mounts, ABindShowsADirectoryOrAFileOfTheHost) {
  EXPECT_EQ(result(workload({"cat", "/in/side/file"}, {bind(host, "/in/side")})), "of the host\n");
  EXPECT_EQ(result(workload({"cat", "/one"}, {bind(host / "file", "/one")})), "of the host\n");
  EXPECT_EQ(result(workload({"create", "/in/new"}, {bind(host, "/in")})), "created\n");
  EXPECT_TRUE(fs::exists(host / "new"));
  EXPECT_THAT(line_of("/in", {bind(host, "/in")}), HasSubstr("nodev"));
}

TEST_P(Mounts, AReadOnlyBindIsReadOnlyWithAllThatLiesInIt) {
  fs::create_directory(host / "below");
  ASSERT_EQ(::mount("tmpfs", (host / "below").c_str(), "tmpfs", 0, "size=64k"), 0);
  EXPECT_EQ(result(workload({"create", "/in/x"}, {bind(host, "/in", true)})), "Read-only file system\n");
  EXPECT_EQ(result(workload({"create", "/in/below/x"}, {bind(host, "/in", true)})), "Read-only file system\n");
  EXPECT_EQ(result(workload({"create", "/in/below/x"}, {bind(host, "/in")})), "created\n");
  ASSERT_EQ(::umount((host / "below").c_str()), 0);
}

TEST_P(Mounts, AVolumeIsKeptForTheNextInstance) {
  const Mount volume{Mount::Type::volume, "db", "/var/db", false, {}};
  EXPECT_EQ(result(workload({"create", "/var/db/row"}, {volume})), "created\n");
  EXPECT_EQ(result(workload({"list", "/var/db"}, {volume})), "row\n");
  EXPECT_TRUE(fs::exists(paths.volumes() / "db/row"));
  struct stat status {};
  ASSERT_EQ(::stat(paths.volumes().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
  EXPECT_THAT(line_of("/var/db", {volume}), AllOf(HasSubstr("nosuid"), HasSubstr("nodev")));
}

TEST_P(Mounts, ATmpfsHasItsSize) {
  const Mount memory{Mount::Type::tmpfs, "", "/scratch", false, 64_KiB};
  EXPECT_THAT(line_of("/scratch", {memory}),
              AllOf(HasSubstr("tmpfs /scratch tmpfs"), HasSubstr("size=64k"), HasSubstr("nosuid,nodev,noexec")));
  EXPECT_EQ(result(workload({"create", "/scratch/x"}, {memory})), "created\n");
}

TEST_P(Mounts, ProgramsMayComeFromAMount) {
  fs::copy_file(rootfs / "bin/w", host / "tool");
  Workload w = workload({}, {bind(host, "/tools")});
  w.command = {"/tools/tool", "exit", "0"};
  EXPECT_EQ(result(w), "");
  w.command = {"/tools/none"};
  EXPECT_THAT(result(w), HasSubstr("execute /tools/none: No such file or directory"));
}

TEST_P(Mounts, AReadOnlyRootTakesNoWriteButItsMountsDo) {
  Workload w = workload({"create", "/data/x"}, {{Mount::Type::tmpfs, "", "/made/for/it", false, {}}});
  w.read_only_root = true;
  EXPECT_EQ(result(w), "Read-only file system\n");
  w.command = {"/bin/w", "create", "/made/for/it/x"};
  EXPECT_EQ(result(w), "created\n");
  w.command = {"/bin/w", "cat", "/etc/hosts"};
  EXPECT_THAT(result(w), HasSubstr("localhost"));
  EXPECT_FALSE(fs::exists(rootfs / "made"));
}

TEST_P(Mounts, NothingIsPropagatedToTheHostOrFromIt) {
  const std::string table = result(workload({"cat", "/proc/self/mountinfo"}, {bind(host, "/in")}));
  EXPECT_THAT(table, AllOf(HasSubstr(" /in "), Not(HasSubstr("shared:")), Not(HasSubstr("master:"))));
}

TEST_P(Mounts, ASourceThatIsMissingIsNamed) {
  EXPECT_THAT(result(workload({"exit", "0"}, {bind("/no/such", "/in")})),
              HasSubstr("'test': mount /in: open /no/such: No such file or directory"));
  EXPECT_TRUE(!fs::exists(paths.instances()) || fs::is_empty(paths.instances()));
  EXPECT_THAT(groups_left(), ::testing::IsEmpty());
}

TEST_P(Mounts, TaresOwnDirectoriesAreRefused) {
  fs::create_directories(paths.instances());
  fs::create_directories(paths.run);
  fs::create_directory_symlink(paths.state, directory.path() / "alias");
  for (const fs::path& ours : {paths.state, paths.run, paths.instances(), directory.path() / "alias"})
    EXPECT_THAT(result(workload({"exit", "0"}, {bind(ours, "/in")})), HasSubstr("tare's own")) << ours;
}

TEST_P(Mounts, AFileAndADirectoryDoNotMix) {
  EXPECT_THAT(result(workload({"exit", "0"}, {bind(host / "file", "/data")})), HasSubstr("mount /data: Is a directory"));
  EXPECT_THAT(result(workload({"exit", "0"}, {bind(host, "/bin/w")})), HasSubstr("mount /bin/w: Not a directory"));
}

TEST_P(Mounts, ALinkInTheImageIsFollowedInsideTheRootOnly) {
  const fs::path outside = directory.path() / "outside";
  fs::create_directory(outside);
  fs::create_directory_symlink(outside, rootfs / "absolute");
  fs::create_directory_symlink("../../../../../../../../.." + outside.string(), rootfs / "relative");
  fs::create_directory_symlink("/data", rootfs / "inside");
  for (const char* target : {"/absolute/x", "/relative/x"}) {
    result(workload({"exit", "0"}, {{Mount::Type::tmpfs, "", target, false, {}}}));
    EXPECT_TRUE(fs::is_empty(outside)) << target;
  }
  EXPECT_THAT(line_of("/data/x", {{Mount::Type::tmpfs, "", "/inside/x", false, {}}}), HasSubstr("tmpfs /data/x"));
}

/// Exchanges a directory in a shared volume with a link that leads out, as fast as it can.
class Exchange {
 public:
  Exchange(fs::path a, fs::path b) : a_(std::move(a)), b_(std::move(b)), thread_([this] { run(); }) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() {
    end_ = true;
    thread_.join();
  }

 private:
  void run() {
    while (!end_) ::syscall(SYS_renameat2, AT_FDCWD, a_.c_str(), AT_FDCWD, b_.c_str(), RENAME_EXCHANGE);
  }
  fs::path a_, b_;
  std::atomic<bool> end_ = false;
  std::thread thread_;
};

// CVE-2021-30465: a target is checked, exchanged for a link, and then mounted onto.
TEST_P(Mounts, ATargetThatIsExchangedForALinkNeverLeadsOut) {
  const fs::path outside = directory.path() / "outside";
  for (const fs::path& path : {outside / "b", host / "a/b"}) fs::create_directories(path);
  std::ofstream(outside / "b/file") << "untouched";
  fs::create_directory_symlink("../../../../../../../.." + outside.string(), host / "link");
  int refused = 0, mounted = 0;
  const Exchange exchange(host / "a", host / "link");
  for (const Deadline deadline = Deadline::in(4s); !deadline.passed() || refused + mounted < 60;) {
    const std::string told = result(workload(
        {"exit", "0"},
        {bind(host, "/shared"), {Mount::Type::tmpfs, "", "/shared/a/b", false, {}}, {Mount::Type::tmpfs, "", "/shared/a/new", false, {}}}));
    ++(told.empty() ? mounted : refused);
    ASSERT_EQ(read_file(outside / "b/file"), "untouched");
    ASSERT_FALSE(fs::exists(outside / "new")) << "a directory was made outside";
  }
  EXPECT_GT(mounted, 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(outside), {}), 1);
  EXPECT_EQ(std::distance(fs::directory_iterator(outside / "b"), {}), 1);
}

class Devices : public ::testing::Test, public NativeFixture {};

TEST_F(Devices, AreTheHostsByTheirPath) {
  Workload w = workload({"list", "/dev"});
  w.devices = {"/dev/kmsg", "/dev/null"};
  EXPECT_THAT(output(Native::container, w), HasSubstr("kmsg"));
  EXPECT_THAT(output(Native::container, workload({"list", "/dev"})), Not(HasSubstr("kmsg")));
  Timeline timeline;
  w.command = {"/bin/w", "pause"};
  const auto instance = make_backend(Native::container, parts)->start(w, timeline);
  EXPECT_THAT(output(Native::metal, w = workload({"list", "/dev"})), HasSubstr("kmsg"));
}

TEST_F(Devices, WhatIsNoDeviceIsNamed) {
  Timeline timeline;
  Workload w = workload({"exit", "0"});
  for (const auto& [path, said] :
       {std::pair{"/dev/no-such", "device /dev/no-such: No such file"}, {"/dev/shm-not", "device /dev/shm-not"}}) {
    w.devices = {path};
    try {
      make_backend(Native::container, parts)->start(w, timeline);
      FAIL() << path << " was taken";
    } catch (const Error& error) {
      EXPECT_THAT(error.sentence(), HasSubstr(said));
    }
  }
}

}  // namespace
}  // namespace tare::container
