// SPDX-License-Identifier: Apache-2.0
// Root file systems that mean harm: each tries a way out, and the test asserts that it is refused and that nothing outside has changed.
#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/integration/container_fixture.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

class HostileRoot : public ::testing::TestWithParam<Native>, public NativeFixture {
 protected:
  void SetUp() override {
    fs::create_directory(outside);
    std::ofstream(outside / "file") << "untouched";
  }
  void TearDown() override {
    EXPECT_EQ(names(outside), std::vector<std::string>{"file"});
    EXPECT_EQ(read_file(outside / "file"), "untouched");
    EXPECT_EQ(read_file("/proc/sys/kernel/core_pattern"), core_pattern);
    EXPECT_EQ(read_file("/proc/self/mounts"), mounts);
    EXPECT_THAT(groups_left(), IsEmpty());
    EXPECT_TRUE(!fs::exists(paths.instances()) || fs::is_empty(paths.instances()));
  }
  static std::vector<std::string> names(const fs::path& directory) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(directory)) found.push_back(entry.path().filename());
    return found;
  }
  /// The error of a start, or what the workload wrote when there is none.
  std::string result(const Workload& w) {
    try {
      return output(GetParam(), w);
    } catch (const Error& error) {
      return error.what();
    }
  }

  fs::path outside = directory.path() / "outside";
  std::string core_pattern = read_file("/proc/sys/kernel/core_pattern");
  std::string mounts = read_file("/proc/self/mounts");
};
INSTANTIATE_TEST_SUITE_P(Native, HostileRoot, ::testing::Values(Native::metal, Native::container),
                         [](const auto& kind) { return name_of(kind.param); });

// CVE-2019-19921, CVE-2026-41579: what is mounted or made there would land wherever the link leads.
TEST_P(HostileRoot, ALinkInTheImageInPlaceOfAKernelViewIsRefused) {
  for (const char* name : {"proc", "sys", "dev"}) {
    for (const fs::path& target : {outside, fs::path("../outside"), fs::path("/data"), fs::path("data")}) {
      fs::create_directory_symlink(target, rootfs / name);
      EXPECT_THAT(result(workload({"exit", "0"})), HasSubstr("mount /" + std::string(name) + ": ")) << target;
      EXPECT_THAT(names(rootfs / "data"), IsEmpty());
      fs::remove(rootfs / name);
    }
  }
}

TEST_P(HostileRoot, AFileInPlaceOfAKernelViewIsRefused) {
  std::ofstream(rootfs / "proc") << "no directory";
  EXPECT_THAT(result(workload({"exit", "0"})), HasSubstr("mount /proc: Not a directory"));
}

// CVE-2025-31133: a masked path is bound from /dev/null, which the image would like to be a file of the kernel's.
TEST_P(HostileRoot, ANullDeviceOfTheImageIsNeverUsed) {
  fs::create_directories(rootfs / "dev");
  fs::create_symlink("/proc/sys/kernel/core_pattern", rootfs / "dev/null");
  fs::create_symlink("/proc/sysrq-trigger", rootfs / "dev/zero");
  EXPECT_EQ(result(workload({"write", "/dev/null"})), "open\n");
  if (GetParam() == Native::metal) return;  // it masks nothing
  EXPECT_EQ(result(workload({"cat", "/proc/keys"})), "");
}

// CVE-2025-52565: the same with the places of terminals.
TEST_P(HostileRoot, ATerminalsPlaceInTheImageIsNeverUsed) {
  fs::create_directories(rootfs / "dev");
  fs::create_directory_symlink(outside, rootfs / "dev/pts");
  fs::create_symlink(outside / "file", rootfs / "dev/console");
  fs::create_symlink(outside / "file", rootfs / "dev/ptmx");
  EXPECT_EQ(result(workload({"write", "/dev/null"})), "open\n");
}

// CVE-2019-14271, CVE-2026-41567: a helper of the runtime's that looks up a user, unpacks or loads a library finds the image's.
TEST_P(HostileRoot, NoProgramOrLibraryOfTheImageRunsOnTheRuntimesBehalf) {
  for (const char* folder : {"trojans", "usr/bin", "usr/sbin", "sbin", "lib/x86_64-linux-gnu", "etc"})
    fs::create_directories(rootfs / folder);
  for (const char* folder : {"bin", "usr/bin", "usr/sbin", "sbin"}) {
    for (const char* program : {"sh", "tar", "gzip", "unpigz", "xz", "getent", "id", "mount", "modprobe", "ip"}) {
      fs::copy_file(rootfs / "bin/w", rootfs / folder / program);
    }
  }
  for (const char* library : {"libnss_files.so.2", "libc.so.6", "libnss_compat.so.2"}) {
    std::ofstream(rootfs / "lib/x86_64-linux-gnu" / library) << "no library";
  }
  std::ofstream(rootfs / "etc/passwd") << "web:x:33:33::/:/bin/sh\n";
  std::ofstream(rootfs / "etc/nsswitch.conf") << "passwd: files compat\n";
  fs::permissions(rootfs / "trojans", fs::perms::all);
  Workload w = workload({"pause"});
  w.user = "web";
  Timeline timeline;
  const auto instance = make_backend(GetParam(), parts)->start(w, timeline);
  EXPECT_EQ(instance->exec({"/bin/w", "list", "/trojans"}, Deadline::in(10s)).out, "");
  ExecRequest request{{"/bin/w", "list", "/trojans"}};
  request.user = "web";
  const auto exec = instance->start_exec(request, Deadline::in(10s));
  exec->wait(Deadline::in(10s));
  EXPECT_EQ(exec->log().text(Stream::out), "");
  EXPECT_EQ(instance->exec({"getent"}, Deadline::in(10s)).exit.code, 0);  // the trap works: the workload itself may step on it
  EXPECT_THAT(instance->exec({"/bin/w", "list", "/trojans"}, Deadline::in(10s)).out, HasSubstr("ran"));
  instance->remove();
}

class Natives : public ::testing::TestWithParam<Native>, public NativeFixture {};
INSTANTIATE_TEST_SUITE_P(Native, Natives, ::testing::Values(Native::metal, Native::container),
                         [](const auto& kind) { return name_of(kind.param); });

// On a volatile overlay fsync(2) does nothing: whoever waits for the disk a lot would seem fast.
TEST_P(Natives, FsyncIsNotLeftOut) {
  const std::string table = output(GetParam(), workload({"cat", "/proc/self/mountinfo"}));
  std::istringstream lines(table);
  std::string root;
  while (std::getline(lines, root) && root.find(" / / ") == std::string::npos) continue;
  EXPECT_THAT(root, HasSubstr(" - overlay overlay "));
  EXPECT_THAT(root, ::testing::Not(HasSubstr("volatile")));
  EXPECT_THAT(root, ::testing::Not(HasSubstr("fsync=")));  // what later kernels call it
}

class Isolated : public ::testing::Test, public NativeFixture {};

TEST_F(Isolated, MaskedPathsAreBoundFromTheNullDeviceAndFromOneEmptyDirectory) {
  const std::string table = output(Native::container, workload({"cat", "/proc/self/mountinfo"}));
  EXPECT_THAT(table, HasSubstr(" /null /proc/interrupts "));
  EXPECT_THAT(table, HasSubstr(" /proc/sys ro,nosuid,nodev,noexec"));
  // The same device number for each masked directory: one file system.
  std::vector<std::string> devices;
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, target;
    words >> id >> parent >> device >> root >> target;
    if (target == "/sys/firmware" || target == "/proc/acpi" || target == "/proc/scsi") devices.push_back(device);
  }
  ASSERT_GE(devices.size(), 1U) << table;
  for (const std::string& device : devices) EXPECT_EQ(device, devices.front());
}

TEST_F(Isolated, ThereIsNoConsoleWithoutATerminal) {
  EXPECT_THAT(output(Native::container, workload({"list", "/dev"})), ::testing::Not(HasSubstr("console")));
}

}  // namespace
}  // namespace tare::container
