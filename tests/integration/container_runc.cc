// SPDX-License-Identifier: Apache-2.0
// The same root file system and the same wishes, run by Debian's runc and by tare: what the workload sees of itself is the same. Every
// difference that is meant stands in docs/oci.md and in kMeant here.
#include <sys/resource.h>

#include <map>
#include <set>
#include <sstream>

#include "container/capabilities.h"
#include "container/isolation.h"
#include "core/id_range.h"
#include "core/process.h"
#include "tests/integration/container_fixture.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::string quoted_list(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "\"" : ",\"") + word + "\"";
  return "[" + out + "]";
}

/// Our names of capabilities as OCI writes them.
std::string capabilities_of(const Isolation& isolation) {
  std::vector<std::string> names;
  std::istringstream words(text_of_capabilities(isolation.capabilities));
  for (std::string word; std::getline(words, word, ',');) {
    std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::toupper(c); });
    names.push_back("CAP_" + word);
  }
  return quoted_list(names);
}

std::string mount_of(const std::string& where, const std::string& type, const std::string& source,
                     const std::vector<std::string>& options) {
  return R"({"destination":")" + where + R"(","type":")" + type + R"(","source":")" + source + R"(","options":)" + quoted_list(options) +
         "}";
}

/// What Docker's services allow, where this host lets us.
std::string most_open_files() {
  constexpr int kSysResource = 24;  // CAP_SYS_RESOURCE
  const std::string status = read_file("/proc/self/status");
  const auto effective = std::strtoull(status.c_str() + status.find("CapEff:") + 7, nullptr, 16);
  if ((effective >> kSysResource & 1) != 0) return "524288";
  rlimit own{};
  ::getrlimit(RLIMIT_NOFILE, &own);
  return std::to_string(std::min<rlim_t>(own.rlim_max, 524288));
}

std::string mapping(std::uint32_t first_id) {
  return R"([{"containerID":0,"hostID":)" + std::to_string(first_id) + R"(,"size":)" + std::to_string(kIdsEach) + "}]";
}

/// Docker's defaults as an OCI configuration, with our own lists where they are values of Isolation. `first_id` is the host's name for
/// root where there is a user namespace; else 0.
std::string configuration(const fs::path& rootfs, const std::vector<std::string>& command, const std::string& group,
                          std::uint32_t first_id) {
  const std::string user_namespace =
      first_id == 0 ? "" : R"("uidMappings":)" + mapping(first_id) + R"(,"gidMappings":)" + mapping(first_id) + ",";
  const Isolation isolation = Isolation::container(Security::standard);
  const std::string caps = capabilities_of(isolation);
  const std::string mounts =
      mount_of("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}) + "," +
      mount_of("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}) + "," +
      mount_of("/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}) + "," +
      mount_of("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}) + "," +
      mount_of("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}) + "," +
      mount_of("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"});
  return R"({"ociVersion":"1.0.2","hostname":"same","process":{"terminal":false,"cwd":"/","noNewPrivileges":true,"user":{"uid":0,"gid":0,"additionalGids":[0]},)"
         R"("env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"args":)" +
         quoted_list(command) + R"(,"capabilities":{"bounding":)" + caps + R"(,"effective":)" + caps + R"(,"permitted":)" + caps +
         R"(},"rlimits":[{"type":"RLIMIT_NOFILE","hard":)" + most_open_files() +
         R"(,"soft":1024},{"type":"RLIMIT_CORE","hard":0,"soft":0}]},"root":{"path":")" + rootfs.string() +
         R"(","readonly":false},"mounts":[)" + mounts + R"(],"linux":{"cgroupsPath":")" + group +
         R"(","resources":{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":33554432,"swap":33554432},)" +
         R"("cpu":{"quota":100000,"period":100000},"pids":{"limit":10}},)" + user_namespace +
         R"("namespaces":[{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"cgroup"})" +
         (first_id == 0 ? "" : R"(,{"type":"user"})") + "]," +
         // Its own rules are Docker's business; here it is enough that there is a filter on both sides.
         R"("seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["swapon"],"action":"SCMP_ACT_ERRNO"}]},)" +
         R"("maskedPaths":)" + quoted_list(isolation.masked) + R"(,"readonlyPaths":)" + quoted_list(isolation.read_only) + "}}";
}

struct Seen {
  std::string out;
  int status = -1;
};

class RuncParity : public ::testing::TestWithParam<Userns>, public NativeFixture {
 protected:
  void SetUp() override {
    if (!find_program("runc")) FAIL() << "runc is not installed, and ./dev test installs it";
    for (const char* name : {"proc", "sys", "dev"}) fs::create_directories(rootfs / name);
    if (GetParam() == Userns::automatic) share_ids();
  }

  /// What tare maps here, for runc too, and a root file system of these owners: runc maps none of the image's.
  void share_ids() {
    std::istringstream map(by_tare({"cat", "/proc/self/uid_map"}).out);
    std::uint32_t inside = 1;
    map >> inside >> first_id_;
    ASSERT_EQ(inside, 0U);
    ASSERT_GT(first_id_, 0U);
    fs::permissions(directory.path(), fs::perms(0755));
    mapped_ = directory.path() / "mapped";
    fs::copy(rootfs, mapped_, fs::copy_options::recursive);
    ASSERT_EQ(::chown(mapped_.c_str(), first_id_, first_id_), 0);
    for (const auto& entry : fs::recursive_directory_iterator(mapped_)) ASSERT_EQ(::lchown(entry.path().c_str(), first_id_, first_id_), 0);
  }

  Seen by_runc(const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {"/bin/w"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const std::string name = new_instance_id();
    const fs::path bundle = directory.path() / ("bundle-" + name);
    fs::create_directories(bundle);
    write_file_atomic(bundle / "config.json", configuration(mapped_.empty() ? rootfs : mapped_, command, "/tare/" + name, first_id_));
    const Output output = run_tool({"runc", "--root", directory.path() / "runc", "run", "--bundle", bundle, name}, Deadline::in(30s));
    EXPECT_THAT(output.err, ::testing::Not(::testing::HasSubstr("level=error"))) << output.err;
    return {output.out, output.exit.status()};
  }

  Seen by_tare(const std::vector<std::string>& arguments) {
    Workload wanted = workload(arguments);
    wanted.limits.cpus = 1.0;
    wanted.limits.memory = 32_MiB;
    wanted.limits.pids = 10;
    wanted.hostname = "same";
    wanted.userns = GetParam();
    Timeline timeline;
    const auto instance = make_backend(Native::container, parts)->start(wanted, timeline);
    const auto exit = instance->wait(Deadline::in(30s));
    EXPECT_TRUE(exit);
    instance->log().wait_closed(Deadline::in(5s));
    return {instance->log().text(Stream::out), exit ? exit->status() : -1};
  }

 private:
  std::uint32_t first_id_ = 0;
  fs::path mapped_;
};
INSTANTIATE_TEST_SUITE_P(Ids, RuncParity, ::testing::Values(Userns::host, Userns::automatic),
                         [](const auto& ids) { return ids.param == Userns::host ? "of_the_host" : "mapped"; });

/// The fields of /proc/self/status that a runtime decides.
std::map<std::string, std::string> credentials(const std::string& status) {
  static const std::set<std::string> kDecided = {"Uid",    "Gid",    "Groups",     "CapInh",  "CapPrm", "CapEff",
                                                 "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "NSpid"};
  std::map<std::string, std::string> fields;
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(':');
    if (colon != std::string::npos && kDecided.contains(line.substr(0, colon))) fields[line.substr(0, colon)] = line.substr(colon + 1);
  }
  return fields;
}

/// Mount point → type and the flags that a mount can be given, of /proc/self/mountinfo.
std::map<std::string, std::string> mount_table(const std::string& mountinfo) {
  std::map<std::string, std::string> table;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, point, options, word, type;
    words >> id >> parent >> device >> root >> point >> options;
    while (words >> word && word != "-") continue;
    words >> type;
    std::string flags;
    std::istringstream list(options);
    for (std::string flag; std::getline(list, flag, ',');) {
      if (flag == "ro" || flag == "nosuid" || flag == "nodev" || flag == "noexec") flags += " " + flag;
    }
    table[point] = type + flags;
  }
  return table;
}

/// What an empty directory over a masked one has here and not with runc.
constexpr const char* kMaskedDirectory = " nosuid nodev noexec";

/// Mount points whose row is meant to differ, with the reason that docs/oci.md gives.
const std::map<std::string, std::string> kMeant = {
    {"/", "an overlay with nodev instead of the bundle's directory"},
};

std::set<std::string> lines_of(const std::string& text) {
  std::set<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.insert(line);
  return lines;
}

TEST_P(RuncParity, CredentialsAreTheSame) {
  const auto runc = credentials(by_runc({"cat", "/proc/self/status"}).out);
  EXPECT_EQ(credentials(by_tare({"cat", "/proc/self/status"}).out), runc);
  EXPECT_EQ(runc.at("Seccomp"), "\t2");
  EXPECT_EQ(runc.at("NoNewPrivs"), "\t1");
}

TEST_P(RuncParity, IdsAreMappedTheSame) {
  // Where they begin is each instance's own.
  const auto sizes = [](const Seen& seen) {
    std::istringstream map(seen.out);
    std::string inside, outside, size, more;
    map >> inside >> outside >> size >> more;
    return inside + " " + (outside == "0" ? "host " : "") + size + more;
  };
  for (const char* map : {"/proc/self/uid_map", "/proc/self/gid_map"})
    EXPECT_EQ(sizes(by_tare({"cat", map})), sizes(by_runc({"cat", map})));
}

TEST_P(RuncParity, TheMountTableHasTheSameShape) {
  auto runc = mount_table(by_runc({"cat", "/proc/self/mountinfo"}).out);
  auto ours = mount_table(by_tare({"cat", "/proc/self/mountinfo"}).out);
  ASSERT_GT(runc.size(), 10U);
  for (const auto& [point, reason] : kMeant) {
    std::erase_if(runc, [&](const auto& row) { return row.first == point || (point != "/" && row.first.starts_with(point + "/")); });
    std::erase_if(ours, [&](const auto& row) { return row.first == point || (point != "/" && row.first.starts_with(point + "/")); });
  }
  // With a user namespace runc binds the host's device nodes one by one; ours lie in the instance's own /dev.
  std::erase_if(runc, [](const auto& row) { return row.first.starts_with("/dev/") && row.second == "devtmpfs"; });
  for (auto& [point, row] : runc) {
    if (row == "tmpfs ro") row += kMaskedDirectory;
    if (row == "devtmpfs") row = ours.at("/dev");  // a file that is masked by the null device
  }
  EXPECT_EQ(ours, runc);
}

TEST_P(RuncParity, DevicesAreTheSame) { EXPECT_EQ(lines_of(by_tare({"list", "/dev"}).out), lines_of(by_runc({"list", "/dev"}).out)); }

TEST_P(RuncParity, ResourceLimitsAreTheSame) {
  const auto limits = [](const std::string& text) {
    std::set<std::string> chosen;
    for (const std::string& line : lines_of(text)) {
      if (line.starts_with("Max open files") || line.starts_with("Max core file size")) chosen.insert(line);
    }
    return chosen;
  };
  const auto runc = limits(by_runc({"cat", "/proc/self/limits"}).out);
  ASSERT_EQ(runc.size(), 2U);
  EXPECT_EQ(limits(by_tare({"cat", "/proc/self/limits"}).out), runc);
  EXPECT_EQ(by_tare({"spawn", "50"}).out, by_runc({"spawn", "50"}).out);
}

TEST_P(RuncParity, ExitCodesAreTheSame) {
  for (const std::vector<std::string>& command : {std::vector<std::string>{"exit", "7"}, {"abort"}, {"hog", "200"}}) {
    EXPECT_EQ(by_tare(command).status, by_runc(command).status) << command[0];
  }
}

}  // namespace
}  // namespace tare::container
