// SPDX-License-Identifier: Apache-2.0
// What a guest's workload sees besides its image: the container's mounts by other means.
#include <sys/mount.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <set>

#include "tests/integration/vm_fixture.h"

namespace tare::vm {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class VmMounts : public Vm {
 protected:
  void SetUp() override {
    Vm::SetUp();
    fs::create_directory(host_);
    std::ofstream(host_ / "file") << "of the host\n";
    mounts_ = read_file("/proc/self/mounts");
  }
  void TearDown() override { EXPECT_EQ(read_file("/proc/self/mounts"), mounts_) << "nothing is mounted on the host, ever"; }

  static Mount bind(const fs::path& source, const std::string& target, bool read_only = false) {
    return {Mount::Type::bind, source, target, read_only, {}};
  }
  /// All that the program prints with these mounts, or the sentence of why it did not start.
  std::string result(std::vector<std::string> arguments, std::vector<Mount> mounts, bool read_only_root = false) {
    Workload what = workload(std::move(arguments));
    what.mounts = std::move(mounts);
    what.read_only_root = read_only_root;
    return result_of(what);
  }
  std::string result_of(const Workload& what) {
    try {
      const auto instance = start(what);
      if (!instance->wait(Deadline::in(30s))) return "does not end";
      return instance->log().text(Stream::out);
    } catch (const Error& error) {
      return error.sentence();
    }
  }
  static std::string line_of(const std::string& target, const std::string& table) {
    const auto at = table.find(" " + target + " ");
    if (at == std::string::npos) return "no such mount in: " + table;
    const auto begin = table.rfind('\n', at) + 1;
    return table.substr(begin, table.find('\n', at) - begin);
  }

  TempDir directory_{fs::path(TARE_BINARY_DIR)};
  fs::path host_ = directory_.path() / "host, and a comma";
  std::string mounts_;
};

TEST_F(VmMounts, ATmpfsHasItsSizeAndFlagsAndAReadOnlyRootTakesNoWriteButThere) {
  const std::string told =
      result({"do", "show /proc/self/mounts", "write /made/for/it/x", "write /bin/x", "write /sealed/x", "show /etc/hosts"},
             {{Mount::Type::tmpfs, "", "/made/for/it", false, 64_KiB}, {Mount::Type::tmpfs, "", "/sealed", true, {}}}, true);
  EXPECT_THAT(line_of("/made/for/it", told), AllOf(HasSubstr("tmpfs"), HasSubstr("size=64k"), HasSubstr("rw,nosuid,nodev,noexec")));
  EXPECT_THAT(told, HasSubstr("write /made/for/it/x: written\n"));
  EXPECT_THAT(told, HasSubstr("write /bin/x: Read-only file system\n"));
  EXPECT_THAT(told, HasSubstr("write /sealed/x: Read-only file system\n"));
  EXPECT_THAT(told, HasSubstr("localhost"));
}

TEST_F(VmMounts, ABindShowsADirectoryAndAFileOfTheHostAndWritesReachIt) {
  const std::string told = result({"do", "show /in/side/file", "show /one", "write /in/side/new", "show /proc/self/mounts"},
                                  {bind(host_, "/in/side"), bind(host_ / "file", "/one")});
  EXPECT_THAT(told, HasSubstr("show /in/side/file: of the host\n"));
  EXPECT_THAT(told, HasSubstr("show /one: of the host\n"));
  EXPECT_THAT(told, HasSubstr("write /in/side/new: written\n"));
  EXPECT_EQ(read_file(host_ / "new"), "written\n");
  EXPECT_THAT(line_of("/in/side", told), AllOf(HasSubstr("virtiofs"), HasSubstr("nodev")));
  EXPECT_THAT(told, Not(HasSubstr("/dev/.share")));
}

TEST_F(VmMounts, AReadOnlyBindIsReadOnlyWithAllThatLiesInItEvenForTheGuestsRoot) {
  fs::create_directory(host_ / "below");
  ASSERT_EQ(::mount("tmpfs", (host_ / "below").c_str(), "tmpfs", 0, "size=64k"), 0);
  Workload what =
      workload({"do", "write /in/x", "write /in/below/x", "remount /in", "write /in/x", "write /in/below/x", "write /open/below/x"});
  what.security = Security::none;
  what.mounts = {bind(host_, "/in", true), bind(host_, "/open")};
  const std::string told = result_of(what);
  EXPECT_EQ(::umount((host_ / "below").c_str()), 0);
  EXPECT_EQ(told,
            "write /in/x: Read-only file system\nwrite /in/below/x: Read-only file system\nremount /in: done\n"
            "write /in/x: Read-only file system\nwrite /in/below/x: Read-only file system\nwrite /open/below/x: written\n");
}

TEST_F(VmMounts, AVolumeIsKeptForTheNextInstance) {
  const Mount volume{Mount::Type::volume, "vm-test", "/var/db", false, {}};
  remove_tree(paths_.volumes() / "vm-test");
  EXPECT_EQ(result({"do", "write /var/db/row"}, {volume}), "write /var/db/row: written\n");
  const std::string told = result({"do", "show /var/db/row", "show /proc/self/mounts"}, {volume});
  EXPECT_THAT(told, HasSubstr("show /var/db/row: written\n"));
  EXPECT_THAT(line_of("/var/db", told), AllOf(HasSubstr("nosuid"), HasSubstr("nodev")));
  struct stat status {};
  ASSERT_EQ(::stat(paths_.volumes().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
  remove_tree(paths_.volumes() / "vm-test");
}

TEST_F(VmMounts, WhatServesAMountIsInTheInstancesGroupAndGoesWithIt) {
  Workload what = workload({"wait"});
  what.mounts = {bind(host_, "/in")};
  auto instance = start(what);
  const std::string id = instance->id();
  const auto servers = [&] {
    std::vector<int> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      if (!try_read_file(entry.path() / "comm").value_or("").starts_with("virtiofsd")) continue;
      if (try_read_file(entry.path() / "cgroup").value_or("").find("/tare/" + id + "\n") == std::string::npos) continue;
      found.push_back(std::stoi(entry.path().filename()));
    }
    return found;
  };
  const std::vector<int> before = servers();
  EXPECT_FALSE(before.empty());
  EXPECT_THAT(instance->protections().at("shares"), HasSubstr("virtiofsd"));
  instance->remove();
  for (const int pid : before) EXPECT_EQ(try_read_file("/proc/" + std::to_string(pid) + "/comm").value_or(""), "") << pid;
  EXPECT_FALSE(trace_of(id));
}

TEST_F(VmMounts, WhatCannotBeMountedIsNamedAndLeavesNothing) {
  const auto there = [&] {
    std::set<std::string> found;
    for (const std::string& id : groups_->ids()) found.insert(id);
    if (!fs::exists(paths_.instances())) return found;
    for (const auto& entry : fs::directory_iterator(paths_.instances())) found.insert(entry.path().filename());
    return found;
  };
  const auto before = there();
  EXPECT_THAT(result({"hello"}, {bind("/no/such", "/in")}), HasSubstr("'test': mount /in: open /no/such: No such file or directory"));
  EXPECT_THAT(result({"hello"}, {bind(paths_.state, "/in")}), HasSubstr("tare's own"));
  EXPECT_THAT(result({"hello"}, {bind(host_ / "file", "/bin")}), HasSubstr("mount /bin: Is a directory"));
  EXPECT_THAT(result({"hello"}, {bind(host_, "/bin/program")}), HasSubstr("mount /bin/program: Not a directory"));
  EXPECT_EQ(there(), before);
}

TEST_F(VmMounts, AQ35GetsThemToo) {
  settings_.machine = Machine::q35;
  backend_ = make_backend({paths_, groups_, std::make_shared<image::Store>(paths_), settings_});
  EXPECT_EQ(result({"do", "show /in/file"}, {bind(host_, "/in")}), "show /in/file: of the host\n");
}

}  // namespace
}  // namespace tare::vm
