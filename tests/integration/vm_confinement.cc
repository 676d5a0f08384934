// SPDX-License-Identifier: Apache-2.0
// What a guest that broke into its QEMU would find there: looked at from outside, in /proc of a real one.
#include <algorithm>
#include <sstream>

#include "core/id_range.h"
#include "tests/integration/vm_fixture.h"

namespace tare::vm {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::string field(const std::string& status, const std::string& name) {
  const std::size_t at = status.find("\n" + name + ":\t");
  if (at == std::string::npos) return "no " + name;
  const std::size_t begin = at + name.size() + 3;
  return status.substr(begin, status.find('\n', begin) - begin);
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
  return names;
}

class Confined : public Vm {
 protected:
  static fs::path proc(const Instance& instance) { return "/proc/" + std::to_string(emulator_of(instance.id())); }
  std::string namespace_of(const fs::path& process, const std::string& kind) { return fs::read_symlink(process / "ns" / kind).string(); }
};

TEST_F(Confined, TheEmulatorIsNobodyWithNoCapabilityAndAFilter) {
  const auto instance = start_program({"wait"});
  const std::string status = read_file(proc(*instance) / "status");
  std::istringstream ids(field(status, "Uid"));
  std::uint32_t user = 0;
  ids >> user;
  EXPECT_GE(user, kFirstRange);
  EXPECT_LT(user, kEndOfRanges);
  EXPECT_EQ(fs::read_symlink(paths_.id_ranges() / std::to_string(user)), paths_.instances() / instance->id());
  const std::string each = std::to_string(user);
  for (const char* name : {"Uid", "Gid"}) EXPECT_EQ(field(status, name), each + "\t" + each + "\t" + each + "\t" + each) << name;
  for (const char* name : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) EXPECT_EQ(field(status, name), "0000000000000000") << name;
  EXPECT_EQ(field(status, "Groups"), " ");
  EXPECT_EQ(field(status, "NoNewPrivs"), "1");
  EXPECT_EQ(field(status, "Seccomp"), "2");
  EXPECT_THAT(instance->protections().at("emulator"), HasSubstr("user " + each + " of the host"));
  instance->remove();
  EXPECT_FALSE(fs::is_symlink(paths_.id_ranges() / each)) << "the claim stays";
}

TEST_F(Confined, TheEmulatorHasOnlyItsOwnFiles) {
  const auto instance = start_program({"wait"});
  const fs::path root = proc(*instance) / "root";
  EXPECT_THAT(names_in(root / "dev"), testing::IsSupersetOf({"null", "zero", "full", "random", "urandom"}));
  EXPECT_THAT(names_in(root / "dev"), Each(testing::AnyOf("null", "zero", "full", "random", "urandom", "kvm")));
  for (const char* path : {"run", "proc", "sys", "home", "root", "var/run", "etc/passwd"}) EXPECT_FALSE(fs::exists(root / path)) << path;
  const fs::path place = paths_.instances().relative_path() / instance->id();
  EXPECT_THAT(names_in(root / place), UnorderedElementsAre("disk.img"));
  EXPECT_THAT(names_in(root / place.parent_path()), UnorderedElementsAre(instance->id()));
  instance->remove();
}

TEST_F(Confined, NothingOfItCanBeWrittenButTheDisk) {
  const auto instance = start_program({"wait"});
  std::vector<std::string> writable;
  std::istringstream table(read_file(proc(*instance) / "mountinfo"));
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string id, parent, device, source, target, options;
    words >> id >> parent >> device >> source >> target >> options;
    EXPECT_THAT(options, HasSubstr("nosuid")) << line;
    EXPECT_TRUE(target == "/" || options.find("nodev") != std::string::npos) << line;
    if (options.rfind("rw", 0) == 0) writable.push_back(target);
  }
  EXPECT_THAT(writable, UnorderedElementsAre((paths_.instances() / instance->id() / "disk.img").string()));
  instance->remove();
}

TEST_F(Confined, NamespacesAreItsOwnAndNoNetworkIsInThem) {
  const auto instance = start_program({"wait"});
  for (const char* kind : {"mnt", "ipc", "net", "uts"})
    EXPECT_NE(namespace_of(proc(*instance), kind), namespace_of("/proc/self", kind)) << kind;
  EXPECT_EQ(read_file(proc(*instance) / "net" / "route").find("\n"), read_file(proc(*instance) / "net" / "route").rfind("\n"))
      << "it has a route";
  instance->remove();
}

TEST_F(Confined, TwoHaveDifferentUsers) {
  const auto one = start_program({"wait"});
  const auto other = start_program({"wait"});
  EXPECT_NE(field(read_file(proc(*one) / "status"), "Uid"), field(read_file(proc(*other) / "status"), "Uid"));
  one->remove();
  other->remove();
}

TEST_F(Confined, AClonesMemoryIsNobodyElsesOnTheHost) {
  Workload what = workload({"wait"});
  what.start = Start::restored;
  const auto instance = start(what);
  EXPECT_EQ(instance->started_as(), Start::restored);
  EXPECT_EQ(field(read_file(proc(*instance) / "status"), "CapEff"), "0000000000000000");
  std::size_t templates = 0;
  for (const auto& entry : fs::directory_iterator(paths_.instances())) {
    if (!fs::exists(entry.path() / "memory")) continue;
    ++templates;
    EXPECT_EQ(fs::status(entry.path()).permissions(), fs::perms::owner_all) << entry.path();
  }
  EXPECT_GE(templates, 1U);
  instance->remove();
}

// The embedded driver opens once in a process, so these are not hardened in a process whose others are.
class Fast : public Vm {
 protected:
  void SetUp() override {
    settings_.confinement = vm::Confinement::fast;
    Vm::SetUp();
  }
};

TEST_F(Fast, TheEmulatorIsRootAndSaysSo) {
  const auto instance = start_program({"wait"});
  const std::string status = read_file("/proc/" + std::to_string(emulator_of(instance->id())) + "/status");
  EXPECT_EQ(field(status, "Uid"), "0\t0\t0\t0");
  EXPECT_EQ(field(status, "Seccomp"), "0");
  EXPECT_THAT(instance->protections().at("emulator"), HasSubstr("none"));
  instance->remove();
}

}  // namespace
}  // namespace tare::vm
