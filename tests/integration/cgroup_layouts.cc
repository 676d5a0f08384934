// SPDX-License-Identifier: Apache-2.0
// The native backends on control groups v1 alone, which neither this host nor the appliance has: their integration tests run once more
// inside a guest with a stock Debian kernel.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "agent/backends.h"
#include "core/error.h"
#include "core/files.h"
#include "core/process.h"

namespace tare {
namespace {

namespace fs = std::filesystem;
using std::chrono::minutes;
using std::chrono::seconds;

const std::string kBuild = TARE_BINARY_DIR;
const std::string kTests = kBuild + "/bin/integration_container";

// A root file system with the tests, at the paths that they were compiled for, what they link and a shell.
class TestImage {
 public:
  explicit TestImage(const fs::path& modules) {
    ::chmod(root_.path().c_str(), 0755);
    for (const char* folder : {"bin", "proc", "sys", "dev", "run", "tmp", "var/tmp", "modules", "image"})
      fs::create_directories(root_.path() / folder);
    add("/bin/busybox");
    for (const char* applet : {"sh", "sleep"}) fs::create_symlink("busybox", root_.path() / "bin" / applet);
    add(kTests);
    for (const auto& entry : fs::directory_iterator(kBuild + "/libexec/tare")) add(entry.path());
    std::istringstream libraries(check_tool({"ldd", kTests}, Deadline::in(seconds(20))));
    for (std::string word; libraries >> word;) {
      if (word.front() == '/') add(word);
    }
    fs::copy_file(modules / "kernel/drivers/net/veth.ko", root_.path() / "modules/veth.ko");
    std::ofstream(root_.path() / "run.sh") << kScript;
  }
  std::string reference() const { return "dir:" + root_.path().string(); }

 private:
  // Mounts v1 and runs the tests $1 of the build $2, which may itself lie below /tmp.
  static constexpr const char* kScript =
      "b=/bin/busybox\n"
      "$b insmod /modules/veth.ko || exit 90\n"
      "$b mount --bind / /image && $b mount -t tmpfs none /tmp || exit 94\n"  // the guest's root is an overlay, and no overlay takes
                                                                              // another's files as its upper layer
      "$b mkdir -p $2 && $b mount --bind /image$2 $2 || exit 95\n"
      "$b umount /cgroup\n"
      "$b mount -t tmpfs none /sys/fs/cgroup || exit 92\n"
      "for c in blkio cpu cpuacct cpuset devices freezer hugetlb memory pids; do\n"
      "  $b mkdir /sys/fs/cgroup/$c && $b mount -t cgroup -o $c none /sys/fs/cgroup/$c || exit 93\n"
      "done\n"
      "echo 8 > /proc/sys/vm/nr_hugepages\n"
      // Not what needs modules, devices, programs or (idmapped mounts) a file system that this guest has not; the layout is nothing to
      // them.
      "exec $1 "
      "--gtest_filter=-ContainerTest.TheBridge*:Devices.AreTheHosts*:*RuncParity.*:*UserNamespace.*:*ManyLayers.*\n";

  void add(const fs::path& file) {
    const fs::path target = root_.path() / file.relative_path();
    fs::create_directories(target.parent_path());
    fs::copy_file(file, target, fs::copy_options::skip_existing);  // follows the link of a library's name
  }

  TempDir root_{"/var/tmp"};
};

TEST(CgroupLayouts, TheNativeBackendsKeepTheirPromisesOnVersionOne) {
  agent::Config config;
  config.paths = Paths::from_environment();
  const auto set = agent::make_backends(config);
  Backend* vm = set->all().at(2);
  const Probe probe = vm->probe();
  ASSERT_TRUE(probe.able) << probe.reason << ": " << probe.remedy;
  const TestImage image(config.paths.kernels() / probe.details.at("guest_kernel") / "modules");
  Workload workload;
  workload.name = "cgroup-layout";
  workload.image = image.reference();
  workload.command = {"/bin/sh", "/run.sh", kTests, kBuild};
  workload.environment = {"PATH=/bin"};
  workload.security = Security::none;  // the guest is the wall here
  workload.limits.cpus = 2;
  workload.limits.memory = 1_GiB;
  vm->prepare(workload);
  Timeline timeline;
  timeline.mark(Mark::requested);
  const auto instance = vm->start(workload, timeline);
  const auto exit = instance->wait(Deadline::in(minutes(9)));
  ASSERT_TRUE(exit.has_value()) << "the tests in the guest did not end\n" << instance->log().text(Stream::out);
  EXPECT_TRUE(instance->log().wait_closed(Deadline::in(seconds(10))));
  std::string out = instance->log().text(Stream::out);
  // CTest takes a program that prints this for skipped, whatever became of it.
  for (std::size_t at = 0; (at = out.find("[  SKIPPED ]", at)) != std::string::npos;) out.replace(at, 12, "(  skipped )");
  EXPECT_TRUE(exit->ok()) << text_of(*exit) << "\n" << out << instance->log().text(Stream::err);
  EXPECT_NE(out.find("[  PASSED  ] "), std::string::npos) << out;
  instance->remove();
}

}  // namespace
}  // namespace tare
