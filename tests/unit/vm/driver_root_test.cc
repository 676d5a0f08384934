// SPDX-License-Identifier: Apache-2.0
// What a killed holder leaves in a root of libvirt's driver, and who may remove it: with scripts that are named like QEMU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/process.h"
#include "vm/driver_root.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class Roots : public testing::Test {
 protected:
  Roots() { fs::create_directories(root_ / "lib" / "qemu" / "channel" / "target"); }

  // Its command line is the interpreter's, and so `arguments` are all that is QEMU's in it; its name is the script's.
  Child emulator(std::vector<std::string> arguments, const std::string& name = "qemu-system-x86_64") const {
    const fs::path script = directory_.path() / name;
    if (!fs::exists(script)) {
      write_file_atomic(script, "#!/bin/sh\nwhile :; do sleep 0.05; done\n");
      fs::permissions(script, fs::perms::owner_all);
    }
    Child::Options options;
    options.argv = {script.string()};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.die_with_parent = true;
    Child child = Child::spawn(options);
    const fs::path comm = "/proc/" + std::to_string(child.pid()) + "/comm";
    while (!read_file(comm).starts_with(name.substr(0, 11))) continue;
    return child;
  }
  fs::path probe_directory() const {
    fs::create_directory(root_ / "lib" / "qemu" / "qmp-AbCdEf");
    return root_ / "lib" / "qemu" / "qmp-AbCdEf";
  }
  void make_traces(const std::string& domain) const {
    for (const std::string& file : {"run/qemu/" + domain + ".pid", "run/qemu/" + domain + ".xml", "log/qemu/" + domain + ".log",
                                    "lib/qemu/domain-7-" + domain + "/monitor.sock", "lib/qemu/channel/target/domain-7-" + domain + "/x"}) {
      fs::create_directories((root_ / file).parent_path());
      write_file_atomic(root_ / file, "");
    }
  }
  std::size_t traces(const std::string& domain) const {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root_))
      count += entry.path().filename().string().find(domain) != std::string::npos;
    return count;
  }
  static bool lives(Child& child) { return !child.wait(Deadline::in(seconds(0))); }

  const TempDir directory_;
  const Paths paths_{directory_.path() / "state", {}, {}};
  const fs::path root_ = paths_.state / "libvirt-0";
};

TEST_F(Roots, AQemuThatWaitsForADeadAskerIsKilledAndItsDirectoryRemoved) {
  const fs::path directory = probe_directory();
  Child child = emulator({"-S", "-pidfile", (directory / "qmp.pid").string(), "-daemonize"});
  Child spelt = emulator({"-pidfile", (paths_.state / "." / "libvirt-0/lib/qemu/qmp-AbCdEf/qmp.pid").string()});
  tidy_driver_roots(paths_);
  EXPECT_EQ(child.wait(Deadline::in(seconds(5))), (Exit{SIGKILL, true, false}));
  EXPECT_EQ(spelt.wait(Deadline::in(seconds(5))), (Exit{SIGKILL, true, false}));
  EXPECT_FALSE(fs::exists(directory));
}

TEST_F(Roots, NobodyElsesProcessIsTouched) {
  const fs::path directory = probe_directory();
  Child elsewhere = emulator({"-pidfile", (directory_.path() / "qmp-AbCdEf" / "qmp.pid").string()});
  Child reader = emulator({"-pidfile", (directory / "qmp.pid").string()}, "editor-of-qemu");
  Child domain = emulator({"-name", "guest=t0123456789ab,debug-threads=on"});
  tidy_driver_roots(paths_);
  EXPECT_TRUE(lives(elsewhere));
  EXPECT_TRUE(lives(reader));
  EXPECT_TRUE(lives(domain));
}

TEST_F(Roots, ARootThatALivingProcessHoldsIsLeftAlone) {
  const DriverRoot held = DriverRoot::claim(paths_);
  ASSERT_EQ(held.path(), root_);
  const fs::path directory = probe_directory();
  make_traces("t0123456789ab");
  Child child = emulator({"-pidfile", (directory / "qmp.pid").string()});
  tidy_driver_roots(paths_);
  EXPECT_TRUE(lives(child));
  EXPECT_TRUE(fs::exists(directory));
  EXPECT_EQ(traces("t0123456789ab"), 5U);
}

TEST_F(Roots, OfADeadDomainNoRecordStays) {
  make_traces("t0123456789ab");
  make_traces("tfedcba987654");
  write_file_atomic(root_ / "run" / "qemu" / "driver.pid", "");
  const Child living = emulator({"-name", "guest=tfedcba987654,debug-threads=on"});
  tidy_driver_roots(paths_);
  EXPECT_EQ(traces("t0123456789ab"), 0U);
  EXPECT_EQ(traces("tfedcba987654"), 5U);  // libvirt finds it again by them
  EXPECT_TRUE(fs::exists(root_ / "run" / "qemu" / "driver.pid"));
}

TEST_F(Roots, AClaimTakesTheFirstFreeRootAndTidiesIt) {
  make_traces("t0123456789ab");
  const DriverRoot first = DriverRoot::claim(paths_);
  const DriverRoot second = DriverRoot::claim(paths_);
  EXPECT_EQ(first.path(), root_);
  EXPECT_EQ(second.path(), paths_.state / "libvirt-1");
  EXPECT_EQ(traces("t0123456789ab"), 0U);
}

TEST_F(Roots, AClaimLeavesTheRootsOfOthersDomainsAloneAndPrefersTheOneWithOurs) {
  make_traces("tfedcba987654");
  const Child living = emulator({"-name", "guest=tfedcba987654,debug-threads=on"});
  const auto owned_by = [](DriverRoot::Owner owner) { return [owner](const std::string&) { return owner; }; };
  EXPECT_EQ(DriverRoot::claim(paths_, owned_by(DriverRoot::Owner::others)).path(), paths_.state / "libvirt-1");
  EXPECT_EQ(DriverRoot::claim(paths_, owned_by(DriverRoot::Owner::us)).path(), root_);
  EXPECT_EQ(DriverRoot::claim(paths_, owned_by(DriverRoot::Owner::nobody)).path(), root_);
  fs::rename(root_, paths_.state / "libvirt-3");
  for (const char* empty : {"libvirt-0", "libvirt-1", "libvirt-2"}) fs::create_directories(paths_.state / empty);
  EXPECT_EQ(DriverRoot::claim(paths_, owned_by(DriverRoot::Owner::us)).path(), paths_.state / "libvirt-3");
  EXPECT_EQ(traces("tfedcba987654"), 0U) << "they went with the root";
}

TEST_F(Roots, WithoutAnyRootNothingIsMade) {
  fs::remove_all(paths_.state);
  tidy_driver_roots(paths_);
  EXPECT_FALSE(fs::exists(paths_.state));
}

}  // namespace
}  // namespace tare::vm
