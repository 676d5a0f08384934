// SPDX-License-Identifier: Apache-2.0
// Containers with a user namespace: root inside is nobody outside, and nothing else that a workload sees is different.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <csignal>
#include <fstream>
#include <set>
#include <sstream>

#include "container/overlay.h"
#include "container/user_namespace.h"
#include "core/id_range.h"
#include "core/nft.h"
#include "core/process.h"
#include "tests/integration/container_fixture.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
namespace fs = std::filesystem;

class UserNamespace : public ::testing::Test, public NativeFixture {
 protected:
  void TearDown() override {
    EXPECT_EQ(read_file("/proc/self/mounts"), mounts) << "nothing is mounted on the host, ever";
    EXPECT_THAT(groups_left(), IsEmpty());
    EXPECT_TRUE(!fs::exists(paths.instances()) || fs::is_empty(paths.instances()));
    for (const auto& entry : fs::directory_iterator(paths.id_ranges())) {
      if (!entry.is_symlink()) continue;
      EXPECT_THAT(fs::read_symlink(entry.path()).string(), Not(HasSubstr(directory.path().string())));
    }
  }
  Workload mapped(std::vector<std::string> arguments) const {
    Workload w = workload(std::move(arguments));
    w.userns = Userns::automatic;
    return w;
  }
  std::string out(const Workload& w) const { return output(Native::container, w); }
  std::unique_ptr<Instance> start(const Workload& w) { return make_backend(Native::container, parts)->start(w, timeline); }
  std::string refusal(const Workload& w, Native kind = Native::container) {
    try {
      make_backend(kind, parts)->start(w, timeline);
    } catch (const Error& error) {
      return error.what();
    }
    return "started";
  }
  /// The host's id of its user 0, as its own record has it: "0 → 1879048192 (65536)".
  static std::uint32_t first_of(const Instance& instance) {
    const std::string text = instance.protections().at("user_namespace");
    return static_cast<std::uint32_t>(std::stoul(text.substr(text.find("→") + std::string_view("→ ").size())));
  }
  std::string pid_of(const Instance& instance) const { return std::to_string(parts.launcher->find_or_gone(instance.id(), "")->pid()); }
  static std::string in(Instance& instance, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/bin/w");
    const ExecResult result = instance.exec(arguments, Deadline::in(10s));
    return result.out + result.err;
  }

  Timeline timeline;
  std::string mounts = read_file("/proc/self/mounts");
};

std::string owner_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return errno_text("stat " + path.string());
  return std::to_string(status.st_uid) + ":" + std::to_string(status.st_gid);
}

TEST_F(UserNamespace, RootInsideIsNotRootOutside) {
  const auto instance = start(mapped({"pause"}));
  const std::uint32_t first = first_of(*instance);
  EXPECT_GE(first, kFirstRange);
  EXPECT_LE(first, kEndOfRanges - kIdsEach);
  const std::string id = std::to_string(first);
  EXPECT_THAT(read_file("/proc/" + pid_of(*instance) + "/status"),
              AllOf(HasSubstr("Uid:\t" + id + "\t" + id + "\t" + id + "\t" + id + "\n"),
                    HasSubstr("Gid:\t" + id + "\t" + id + "\t" + id + "\t" + id + "\n"), HasSubstr("Groups:\t" + id)));
  for (const char* map : {"/proc/self/uid_map", "/proc/self/gid_map"}) {
    EXPECT_THAT(in(*instance, {"cat", map}), ContainsRegex("^ *0 +" + id + " +65536\n$"));
  }
  EXPECT_THAT(in(*instance, {"cat", "/proc/1/status"}),
              AllOf(HasSubstr("Uid:\t0\t0\t0\t0\n"), HasSubstr("CapEff:\t00000000a80425fb\n"), HasSubstr("Seccomp:\t2\n")));
  EXPECT_EQ(instance->protections().at("namespaces"), "mount,pid,ipc,uts,net,cgroup,time,user");
}

TEST_F(UserNamespace, TheHostIsWhatItIsWithout) {
  const auto instance = start(workload({"pause"}));
  EXPECT_EQ(instance->protections().at("user_namespace"), "host");
  EXPECT_EQ(fs::read_symlink("/proc/" + pid_of(*instance) + "/ns/user"), fs::read_symlink("/proc/self/ns/user"));
}

TEST_F(UserNamespace, NoTwoInstancesHaveTheSameIds) {
  std::vector<std::unique_ptr<Instance>> instances;
  std::set<std::uint32_t> firsts;
  for (int i = 0; i < 4; ++i) {
    instances.push_back(start(mapped({"pause"})));
    firsts.insert(first_of(*instances.back()));
    EXPECT_EQ(fs::read_symlink(paths.id_ranges() / std::to_string(first_of(*instances.back()))),
              fs::absolute(paths.instances() / instances.back()->id()));
  }
  EXPECT_EQ(firsts.size(), instances.size());
}

TEST_F(UserNamespace, FilesOfTheImageBelongToWhomTheyBelongInTheImage) {
  for (const char* name : {"root", "www", "far"}) std::ofstream(rootfs / "data" / name) << name;
  ASSERT_EQ(::chown((rootfs / "data/www").c_str(), 33, 34), 0);
  ASSERT_EQ(::chown((rootfs / "data/far").c_str(), 70'000, 70'000), 0);
  ASSERT_EQ(::chmod((rootfs / "data/www").c_str(), 0600), 0);
  EXPECT_EQ(out(mapped({"owner", "/", "/data/root", "/data/www", "/data/far", "/etc/hosts"})),
            "0:0 755\n0:0 644\n33:34 600\n65534:65534 644\n0:0 644\n");
  EXPECT_EQ(out(mapped({"cat", "/data/www"})), "www\n");  // its capability counts for what is mapped
  EXPECT_EQ(owner_of(rootfs / "data/www"), "33:34") << "the image is as it was";
}

TEST_F(UserNamespace, WhatItChangesLiesUnderItsOwnIdsAndTheImageStays) {
  std::ofstream(rootfs / "data/file") << "of the image";
  const auto instance = start(mapped({"pause"}));
  EXPECT_EQ(in(*instance, {"write", "/data/file"}), "open\n");
  EXPECT_EQ(in(*instance, {"create", "/data/new"}), "created\n");
  const std::string id = std::to_string(first_of(*instance));
  const fs::path upper = paths.instances() / instance->id() / "upper";
  EXPECT_EQ(owner_of(upper / "data/new"), id + ":" + id);
  EXPECT_EQ(owner_of(upper / "data/file"), id + ":" + id) << "copied up";
  EXPECT_EQ(in(*instance, {"owner", "/data/new", "/data/file"}), "0:0 644\n0:0 644\n");
  EXPECT_EQ(owner_of(rootfs / "data/file"), "0:0");
}

TEST_F(UserNamespace, AFileInABindOrAVolumeBelongsOnTheHostToTheIdItHasInside) {
  const fs::path host = directory.path() / "host";
  fs::create_directories(host / "below");
  ASSERT_EQ(::chmod(host.c_str(), 0777), 0);
  Workload w = mapped({"create", "/in/file"});
  w.mounts = {{Mount::Type::bind, host, "/in", false, {}}, {Mount::Type::volume, "kept", "/kept", false, {}}};
  EXPECT_EQ(out(w), "created\n");
  EXPECT_EQ(owner_of(host / "file"), "0:0");
  w.command = {"/bin/w", "create", "/kept/file"};
  EXPECT_EQ(out(w), "created\n");
  EXPECT_EQ(owner_of(paths.volumes() / "kept/file"), "0:0");
  w.command = {"/bin/w", "create", "/in/of-a-user"};
  w.user = "33:34";
  EXPECT_EQ(out(w), "created\n");
  EXPECT_EQ(owner_of(host / "of-a-user"), "33:34");
  w.command = {"/bin/w", "create", "/in/below/x"};
  EXPECT_EQ(out(w), "Permission denied\n") << "it is root's";
  w.mounts[0].read_only = true;
  w.user.clear();
  EXPECT_EQ(out(w), "Read-only file system\n");
}

TEST_F(UserNamespace, NeitherRootNorAllCapabilitiesLeadOut) {
  fs::create_directories(rootfs / "data");
  const std::string escape = out(mapped({"escape"}));
  EXPECT_THAT(escape, AllOf(HasSubstr("tmpfs: Operation not permitted"), HasSubstr("remount: Operation not permitted"),
                            HasSubstr("disk: Operation not permitted"), HasSubstr("setns: Operation not permitted"),
                            HasSubstr("chown: Invalid argument"), HasSubstr("hostname: Operation not permitted")));
  // With every capability and no filter it may do to its own what root does to the host's, and nothing to the host's.
  Workload w = mapped({"escape"});
  w.security = Security::none;
  const std::string host_name = read_file("/proc/sys/kernel/hostname");
  EXPECT_THAT(out(w), AllOf(HasSubstr("tmpfs: done"), HasSubstr("disk: Operation not permitted"), HasSubstr("chown: Invalid argument"),
                            HasSubstr("hostname: done")));
  EXPECT_EQ(read_file("/proc/sys/kernel/hostname"), host_name);
  w.command = {"/bin/w", "write", "/proc/sys/kernel/core_pattern"};
  EXPECT_EQ(out(w), "Permission denied\n");
  w.command = {"/bin/w", "device", "c", "1:11", "/dev/kmsg"};
  EXPECT_EQ(out(w), "Operation not permitted\nNo such file or directory\n");
}

TEST_F(UserNamespace, ExecJoinsIt) {
  const auto instance = start(mapped({"pause"}));
  const std::string ns = fs::read_symlink("/proc/" + pid_of(*instance) + "/ns/user");
  EXPECT_THAT(in(*instance, {"list", "/proc/self/ns"}), HasSubstr(ns));
  EXPECT_NE(ns, fs::read_symlink("/proc/self/ns/user").string());
  EXPECT_THAT(in(*instance, {"cat", "/proc/self/status"}), AllOf(HasSubstr("Uid:\t0\t0\t0\t0\n"), HasSubstr("Groups:\t0"),
                                                                 HasSubstr("CapEff:\t00000000a80425fb\n"), HasSubstr("NoNewPrivs:\t1\n")));
  EXPECT_EQ(in(*instance, {"write", "/proc/self/fd/1"}), "open\n") << "its streams belong to it";
  EXPECT_THAT(in(*instance, {"escape"}), Not(HasSubstr("done")));
}

TEST_F(UserNamespace, ANamedUserIsThatUserInsideAndOwnsItsStreams) {
  Workload w = mapped({"pause"});
  w.user = "1234:5678";
  const auto instance = start(w);
  const std::uint32_t first = first_of(*instance);
  EXPECT_THAT(read_file("/proc/" + pid_of(*instance) + "/status"),
              AllOf(HasSubstr("Uid:\t" + std::to_string(first + 1234)), HasSubstr("Gid:\t" + std::to_string(first + 5678)),
                    HasSubstr("Groups:\t" + std::to_string(first + 5678))));
  EXPECT_THAT(in(*instance, {"cat", "/proc/self/status"}), AllOf(HasSubstr("Uid:\t1234\t"), HasSubstr("CapEff:\t0000000000000000\n")));
  EXPECT_EQ(in(*instance, {"write", "/proc/self/fd/2"}), "open\n");
  w.command = {"/bin/w", "write", "/proc/self/fd/1"};
  EXPECT_EQ(out(w), "open\n");
}

TEST_F(UserNamespace, ATerminalIsItsUsersAndSoIsAnOpenStdin) {
  Workload w = mapped({"owner", "/dev/pts/0", "/dev/console", "/proc/self/fd/0"});
  w.tty = true;
  EXPECT_THAT(out(w), AllOf(ContainsRegex("^0:5 620\r?\n0:5 620\r?\n0:5 620"), Not(HasSubstr("65534"))));
  w.user = "1234:5678";
  EXPECT_THAT(out(w), ContainsRegex("^1234:5 620\r?\n1234:5 620"));
  w = mapped({"owner", "/proc/self/fd/0"});
  w.open_stdin = true;
  w.user = "1234:5678";
  EXPECT_EQ(out(w), "1234:5678 600\n");
}

TEST_F(UserNamespace, TheViewsOfTheKernelAreTheSameAsWithout) {
  const auto rows = [](const std::string& table) {
    std::set<std::string> kept;
    std::istringstream lines(table);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string source, target, type, options;
      words >> source >> target >> type >> options;
      // Options that name ids are what it is all about.
      kept.insert(target + " " + type + " " + (options.starts_with("ro") ? "ro" : "rw") +
                  (options.find("nodev") != std::string::npos ? " nodev" : "") +
                  (options.find("nosuid") != std::string::npos ? " nosuid" : "") +
                  (options.find("noexec") != std::string::npos ? " noexec" : ""));
    }
    return kept;
  };
  EXPECT_EQ(rows(out(mapped({"cat", "/proc/self/mounts"}))), rows(out(workload({"cat", "/proc/self/mounts"}))));
  const auto names = [](const std::string& list) {
    std::istringstream lines(list);
    std::set<std::string> found;
    for (std::string line; std::getline(lines, line);) found.insert(line);
    return found;
  };
  EXPECT_EQ(names(out(mapped({"list", "/dev"}))), names(out(workload({"list", "/dev"}))));
  const std::vector<std::string> places = {"owner", "/dev", "/dev/null", "/dev/pts", "/dev/shm", "/dev/ptmx", "/proc/self"};
  EXPECT_EQ(out(mapped(places)), out(workload(places)));
  EXPECT_EQ(out(mapped({"write", "/dev/null"})), "open\n");
  EXPECT_EQ(out(mapped({"cat", "/proc/keys"})), "") << "masked";
  EXPECT_EQ(out(mapped({"create", "/dev/shm/x"})), "created\n");
}

TEST_F(UserNamespace, ADeviceThatItIsGivenWorks) {
  Workload w = mapped({"write", "/dev/net/tun"});
  w.devices = {"/dev/net/tun"};
  EXPECT_EQ(out(w), "open\n");
  w.command = {"/bin/w", "list", "/dev/net"};
  EXPECT_EQ(out(w), "tun\n");
}

TEST_F(UserNamespace, LimitsHold) {
  Workload w = mapped({"hog", "200"});
  w.limits.memory = 32_MiB;
  const auto instance = start(w);
  const auto exit = instance->wait(Deadline::in(20s));
  ASSERT_TRUE(exit);
  EXPECT_TRUE(exit->oom);
  w = mapped({"spawn", "50"});
  w.limits.pids = 10;
  EXPECT_EQ(out(w), "9\n");
  w = mapped({"cat", "/proc/self/limits"});
  w.ulimits = {{"nofile", 100, 200}, {"core", 0, 4096}, {"stack", 1 << 20, kNoLimit}};
  EXPECT_THAT(out(w), AllOf(ContainsRegex("Max core file size +0 +4096 "), ContainsRegex("Max open files +100 +200 "),
                            ContainsRegex("Max stack size +1048576 +unlimited ")));
}

TEST_F(UserNamespace, EachNetworkWorksAndItsLowPortsAreItsOwn) {
  EXPECT_EQ(out(mapped({"list", "/sys/class/net"})), out(workload({"list", "/sys/class/net"})));
  Workload w = mapped({"serve", "80"});
  w.ports = {80};
  w.network = Network::link;
  Workload client = workload({"ask", "", "80"});
  client.network = Network::host;
  {
    const auto server = start(w);
    client.command[2] = server->address();
    EXPECT_EQ(out(client), "hello\n");
  }
  if (!nft::is_available()) return;  // the guest of cgroup_layouts has no bridge
  w.network = Network::bridge;
  const auto server = start(w);
  Workload neighbour = mapped({"ask", server->address(), "80"});
  neighbour.network = Network::bridge;
  EXPECT_EQ(out(neighbour), "hello\n");
}

TEST_F(UserNamespace, WhatTheKernelCannotDoIsRefusedByName) {
  EXPECT_THAT(refusal(mapped({"pause"}), Native::metal), HasSubstr("metal 'test' cannot have `userns: auto`"));
  for (const Namespace space : {Namespace::pid, Namespace::ipc, Namespace::net}) {
    Workload w = mapped({"pause"});
    w.host_namespaces = {space};
    EXPECT_THAT(refusal(w), HasSubstr("cannot share the host's " + std::string(name(space)) + " namespace with `userns: auto`"));
  }
  Workload w = mapped({"pause"});
  w.network = Network::host;
  EXPECT_THAT(refusal(w), HasSubstr("cannot share the host's net namespace"));
  w = mapped({"pause"});
  w.user = "65536:1";
  EXPECT_THAT(refusal(w), HasSubstr("user 65536 is beyond the 65536 ids"));
  w.user = "1:65536";
  EXPECT_THAT(refusal(w), HasSubstr("group 65536 is beyond the 65536 ids"));
  w = mapped({"pause"});
  w.mounts = {{Mount::Type::bind, "/proc", "/in", false, {}}};  // a file system that maps no ids
  EXPECT_THAT(refusal(w), HasSubstr("map the ids of /proc: Invalid argument"));
  EXPECT_THAT(refusal(w), HasSubstr("MOUNT_ATTR_IDMAP"));
}

TEST_F(UserNamespace, WhatItMayShareItShares) {
  Workload w = mapped({"list", "/proc/self/ns"});
  w.host_namespaces = {Namespace::uts, Namespace::cgroup, Namespace::time};
  const std::string inside = out(w);
  for (const char* name : {"uts", "cgroup", "time"}) {
    EXPECT_THAT(inside, HasSubstr(fs::read_symlink("/proc/self/ns/" + std::string(name)).string())) << name;
  }
}

// Kernels before 6.15 take the second form alone.
TEST_F(UserNamespace, BothFormsOfAnOverlayShowTheLayersWithItsIds) {
  std::ofstream(rootfs / "data/file") << "text";
  const Fd users = make_user_namespace(kFirstRange);
  for (const LayerForm form : {LayerForm::one_by_one, LayerForm::at_once}) {
    if (form == LayerForm::one_by_one && !kernel_is_at_least(6, 15)) continue;
    const fs::path home = directory.path() / std::to_string(static_cast<int>(form));
    for (const char* name : {"upper", "work", "merged"}) fs::create_directories(home / name);
    const Fd root = mount_overlay({{rootfs}, home, false, users.get()}, "test", form);
    struct stat status {};
    ASSERT_EQ(::fstatat(root.get(), "data/file", &status, 0), 0);
    EXPECT_EQ(status.st_uid, kFirstRange);
    EXPECT_EQ(status.st_gid, kFirstRange);
  }
}

}  // namespace
}  // namespace tare::container
