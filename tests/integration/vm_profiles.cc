// SPDX-License-Identifier: Apache-2.0
// Each profile against real libvirt, QEMU and a stock kernel: what the guest sees of it, and what the host does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <algorithm>

#include "tests/integration/vm_fixture.h"
#include "vm/profile.h"

namespace tare::vm {
namespace {

using testing::HasSubstr;
using testing::Not;

class Profiles : public Vm, public testing::WithParamInterface<VmProfile> {
 protected:
  Workload workload(VmProfile profile, std::vector<std::string> arguments) const {
    Workload out = Vm::workload(std::move(arguments));
    out.vm_profile = profile;
    return out;
  }

  std::unique_ptr<Instance> start(const Workload& what) {
    backend_->prepare(what);
    timelines_.push_back(std::make_unique<Timeline>());
    timelines_.back()->mark(Mark::requested);
    return backend_->start(what, *timelines_.back());
  }

  bool emulated() const { return backend_->probe().emulated; }

  std::string arguments_of(const Instance& instance) const {
    return read_file("/proc/" + std::to_string(emulator_of(instance.id())) + "/cmdline");
  }

  // CPUs of QEMU's threads whose name begins with `name`, as the kernel writes them.
  std::vector<std::string> affinity(const Instance& instance, const std::string& name) const {
    std::vector<std::string> found;
    for (const auto& thread : fs::directory_iterator("/proc/" + std::to_string(emulator_of(instance.id())) + "/task")) {
      if (read_file(thread.path() / "comm").rfind(name, 0) != 0) continue;
      const std::string status = read_file(thread.path() / "status");
      const std::size_t from = status.find("Cpus_allowed_list:\t") + 19;
      found.push_back(status.substr(from, status.find('\n', from) - from));
    }
    return found;
  }

  std::vector<std::unique_ptr<Timeline>> timelines_;
};

TEST_P(Profiles, RunAWorkloadToItsExitAndNameThemselves) {
  Workload what = workload(GetParam(), {"hello"});
  what.network = Network::link;  // a device more
  auto instance = start(what);
  const auto exit = instance->wait(Deadline::in(20s));
  ASSERT_TRUE(exit);
  EXPECT_EQ(*exit, (Exit{7, false, false}));
  EXPECT_EQ(instance->log().text(Stream::out), "to stdout\n");
  EXPECT_EQ(instance->protections().at("profile"), name(GetParam()));
  EXPECT_EQ(instance->remarks().empty(), GetParam() == VmProfile::standard || !emulated());
  instance->remove();
  EXPECT_EQ(timelines_.back()->disorder(), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Each, Profiles, testing::Values(VmProfile::standard, VmProfile::minimal, VmProfile::matched, VmProfile::tuned),
                         [](const auto& each) { return std::string(name(each.param)); });

using ProfileGuest = Profiles;

TEST_F(ProfileGuest, MatchedGivesTheMemoryThatWasAskedForAndTheCpusOfTheHost) {
  Workload what = workload(VmProfile::matched, {"wait"});
  what.limits.memory = 300_MiB;
  auto instance = start(what);
  const auto usable = keyed_number(shown(*instance, "/proc/meminfo"), "MemTotal");
  ASSERT_TRUE(usable);
  EXPECT_GE(*usable, 300U * 1024);
  EXPECT_LE(*usable, 303U * 1024);
  const std::string cpus = shown(*instance, "/sys/devices/system/cpu/online");
  EXPECT_EQ(parse_index_list(cpus.substr(0, cpus.find('\n'))).size(), host_offer(paths_.instances()).cpus.size());
  EXPECT_THAT(instance->protections().at("profile memory"), HasSubstr("for 300 MiB that are usable"));
  if (emulated()) {
    EXPECT_THAT(instance->protections().at("profile cpu"), HasSubstr("needs KVM"));
    EXPECT_THAT(shown(*instance, "/proc/cpuinfo"), HasSubstr(" avx2 "));  // QEMU's least CPU has none
  }
}

TEST_F(ProfileGuest, MatchedTellsInWhatTheGuestDiffersFromTheHost) {
  Workload what = workload(VmProfile::matched, {"hello"});
  what.limits.memory = 300_MiB;
  auto instance = start(what);
  ASSERT_TRUE(instance->wait(Deadline::in(20s)));  // it was told before the exit
  const auto protections = instance->protections();
  utsname host{};
  ::uname(&host);
  const std::string kernel = protections.at("parity kernel");
  EXPECT_THAT(kernel, HasSubstr(host.release));
  EXPECT_THAT(protections.at("parity memory"), HasSubstr(" MiB, as on the host"));
  EXPECT_THAT(protections.at("parity cpus"), HasSubstr("as on the host"));
  EXPECT_THAT(protections.at("parity nodes"), HasSubstr("as on the host"));
  const auto remarks = instance->remarks();
  if (emulated()) {
    EXPECT_THAT(remarks, testing::Contains(HasSubstr("parity flags: the guest lacks ")));
  }
  const bool differs = kernel.find("as on the host") == std::string::npos;
  EXPECT_EQ(std::count_if(remarks.begin(), remarks.end(), [](const auto& text) { return text.find("parity kernel") != std::string::npos; }),
            differs ? 1 : 0);
}

TEST_F(ProfileGuest, MatchedKeepsQemuOnTheWorkloadsCpus) {
  Workload what = workload(VmProfile::matched, {"wait"});
  what.limits.cpuset = "0";
  auto instance = start(what);
  EXPECT_THAT(shown(*instance, "/sys/devices/system/cpu/online"), HasSubstr("0\n"));
  for (const std::string& cpus : affinity(*instance, "")) EXPECT_EQ(cpus, "0");
}

TEST_F(ProfileGuest, TunedHasAThreadForItsDisksWithoutTheHostsPageCache) {
  auto instance = start(workload(VmProfile::tuned, {"write", "/new"}));
  EXPECT_EQ(*instance->wait(Deadline::in(20s)), (Exit{0, false, false}));
  instance->remove();
  instance = start(workload(VmProfile::tuned, {"wait"}));
  const std::string arguments = arguments_of(*instance);
  const auto protections = instance->protections();
  EXPECT_THAT(arguments, HasSubstr("\"iothread\":\"iothread1\""));
  EXPECT_EQ(affinity(*instance, "IO iothread1").size(), 1U);
  const HostOffer offer = host_offer(paths_.instances());
  if (offer.no_io_uring.empty()) {
    EXPECT_THAT(arguments, HasSubstr("\"aio\":\"io_uring\""));
    EXPECT_EQ(protections.at("profile disk io"), "io_uring");
  } else {
    EXPECT_THAT(protections.at("profile disk io"), HasSubstr(offer.no_io_uring));
  }
  if (offer.no_direct_io.empty()) {
    EXPECT_THAT(arguments, HasSubstr("\"cache\":{\"direct\":true,\"no-flush\":false}"));
    EXPECT_THAT(protections.at("profile disk cache"), HasSubstr("none"));
  } else {
    EXPECT_THAT(protections.at("profile disk cache"), HasSubstr(offer.no_direct_io));
  }
  if (offer.hugepages_free < kDefaultMemory) {
    EXPECT_THAT(protections.at("profile hugepages"), HasSubstr("none: "));
    EXPECT_THAT(arguments, Not(HasSubstr("memory-backend-file")));
  } else {
    EXPECT_THAT(arguments, HasSubstr("hugepages"));
  }
}

TEST_F(ProfileGuest, ACacheThatTakesNoFlushIsSaidWithEveryResult) {
  settings_.cache = "unsafe";
  backend_ = make_backend({paths_, groups_, std::make_shared<image::Store>(paths_), settings_});
  const auto instance = start(workload(VmProfile::standard, {"wait"}));
  EXPECT_THAT(arguments_of(*instance), HasSubstr(R"("no-flush":true)"));
  EXPECT_THAT(instance->remarks(), testing::ElementsAre(HasSubstr("disk cache: unsafe")));
}

TEST_F(ProfileGuest, TunedPinsEachVirtualCpuAndTheNextGuestsToOtherCpus) {
  const std::size_t cpus = host_offer(paths_.instances()).cpus.size();
  if (cpus < 2) GTEST_SKIP() << "needs two CPUs";
  auto first = start(workload(VmProfile::tuned, {"wait"}));
  const auto of_first = affinity(*first, "CPU 0/");
  ASSERT_EQ(of_first.size(), 1U);
  EXPECT_EQ(parse_index_list(of_first[0]).size(), 1U);
  EXPECT_THAT(first->protections().at("profile pinning"), HasSubstr("virtual CPUs on " + of_first[0] + ", QEMU's other threads on "));
  auto second = start(workload(VmProfile::tuned, {"wait"}));
  EXPECT_NE(affinity(*second, "CPU 0/"), of_first);
  first->remove();
  auto third = start(workload(VmProfile::tuned, {"wait"}));
  EXPECT_EQ(affinity(*third, "CPU 0/"), of_first) << "its claim was not given back";
}

TEST_F(ProfileGuest, OfAMachineOfItsOwnIsNoClone) {
  Workload what = workload(VmProfile::tuned, {"wait"});
  what.start = Start::restored;
  try {
    backend_->prepare(what);
    FAIL() << "it was prepared";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unsuited);
    EXPECT_THAT(error.sentence(), HasSubstr("vm 'test' has no start: restored with profile tuned"));
  }
}

TEST_F(ProfileGuest, MinimalHasNoSerialPortAndLittleMemoryOfQemusOwn) {
  auto instance = start(workload(VmProfile::minimal, {"wait"}));
  const std::string arguments = arguments_of(*instance);
  EXPECT_THAT(arguments, Not(HasSubstr("isa-serial")));
  EXPECT_EQ(arguments.find("tb-size=16") != std::string::npos, emulated());
  const std::uint64_t minimal = instance->usage().memory_pss.value().count;
  instance->remove();
  const std::uint64_t standard = start(workload(VmProfile::standard, {"wait"}))->usage().memory_pss.value().count;
  RecordProperty("pss_mib_minimal", std::to_string(minimal >> 20));
  RecordProperty("pss_mib_default", std::to_string(standard >> 20));
  EXPECT_LT(minimal, standard);
}

}  // namespace
}  // namespace tare::vm
