// SPDX-License-Identifier: Apache-2.0
// What limits do to a workload, from its start and while it runs; on whichever control group layout this host has.
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <csignal>
#include <sstream>

#include "tests/integration/container_fixture.h"
#include "tests/support/failure_of.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

namespace fs = std::filesystem;

std::string field(const std::string& status, const std::string& name) {
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ":")) return line.substr(line.find_first_not_of(" \t", name.size() + 1));
  }
  return "";
}

/// The content of the kernel file of a group, under its name of v1 or of v2.
std::string kernel_file(const std::string& id, const std::string& controller, const std::string& v1, const std::string& v2) {
  for (const std::string& path : {"/sys/fs/cgroup/" + controller + "/tare/" + id + "/" + v1, "/sys/fs/cgroup/tare/" + id + "/" + v2,
                                  "/sys/fs/cgroup/unified/tare/" + id + "/" + v2}) {
    if (const auto text = try_read_file(path)) return text->substr(0, text->find('\n'));
  }
  return "no such file";
}

class LimitsTest : public ::testing::Test, public NativeFixture {
 protected:
  std::unique_ptr<Instance> start(const Workload& w, Native kind = Native::container) {
    return make_backend(kind, parts)->start(w, timeline);
  }
  std::string inside(Instance& instance, const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {"/bin/w"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return instance.exec(command, Deadline::in(20s)).out;
  }
  bool is_v2() const { return groups->layout().starts_with("v2"); }
  bool has(const std::string& controller) const { return groups->layout().find(controller) != std::string::npos; }
  Timeline timeline;
};

std::chrono::nanoseconds cpu_in(Instance& instance, std::chrono::milliseconds window) {
  const auto before = instance.usage().cpu.value();
  std::this_thread::sleep_for(window);
  return instance.usage().cpu.value() - before;
}

/// The numbers of a disk of this host, as "254:0"; empty without one.
std::string a_disk() {
  for (const auto& entry : fs::directory_iterator("/sys/block")) {
    const std::string name = entry.path().filename();
    if (name.starts_with("loop") || name.starts_with("zram") || name.starts_with("ram")) continue;
    const std::string numbers = read_file(entry.path() / "dev");
    return numbers.substr(0, numbers.find('\n'));
  }
  return "";
}

/// A disk of 16 MiB at least to read from: a loop device of our own, else one of the host's.
class ReadableDisk {
 public:
  explicit ReadableDisk(const fs::path& file) {
    const Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    const int number = control ? ::ioctl(control.get(), LOOP_CTL_GET_FREE) : -1;
    if (number < 0) {
      numbers = a_disk();
      return;
    }
    write_file_atomic(file, std::string(16 << 20, 'x'));
    const Fd backing = open_file(file, O_RDWR);
    device_ = open_file("/dev/loop" + std::to_string(number), O_RDWR);
    loop_config config{};
    config.fd = static_cast<__u32>(backing.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;  // it goes with the last descriptor
    if (::ioctl(device_.get(), LOOP_CONFIGURE, &config) == 0) numbers = "7:" + std::to_string(number);
  }
  std::string numbers;  // empty: there is none

 private:
  Fd device_;
};

TEST_F(LimitsTest, HalfACpuIsHalfTheTime) {
  Workload w = workload({"spin", "60000"});
  w.limits.cpus = 0.5;
  const auto instance = start(w);
  cpu_in(*instance, 100ms);
  const auto used = cpu_in(*instance, 1000ms);
  EXPECT_LT(used, 650ms);  // 500 ms, and a period of 100 ms at either end
  EXPECT_GT(used, 200ms);
}

TEST_F(LimitsTest, WeightsShareACpuInTheirRatio) {
  if (!has("cpuset")) GTEST_SKIP() << "no cpuset controller";
  const auto spinner = [&](unsigned weight) {
    Workload w = workload({"spin", "60000"});
    w.limits.cpu_weight = weight;
    w.limits.cpuset = "0";
    return start(w);
  };
  const auto light = spinner(100);
  const auto heavy = spinner(400);
  const auto light_before = light->usage().cpu.value();
  const auto heavy_used = cpu_in(*heavy, 1500ms);
  const auto light_used = light->usage().cpu.value() - light_before;
  const double ratio = static_cast<double>(heavy_used.count()) / static_cast<double>(light_used.count());
  EXPECT_GT(ratio, 2.7) << heavy_used.count() << " ns against " << light_used.count() << " ns";
  EXPECT_LT(ratio, 5.5) << heavy_used.count() << " ns against " << light_used.count() << " ns";
}

TEST_F(LimitsTest, CpusetIsWhereItRuns) {
  if (!has("cpuset")) GTEST_SKIP() << "no cpuset controller";
  Workload w = workload({"cat", "/proc/self/status"});
  w.limits.cpuset = "1";
  w.limits.memory_nodes = "0";
  for (const Native kind : {Native::metal, Native::container}) {
    const std::string status = output(kind, w);
    EXPECT_EQ(field(status, "Cpus_allowed_list"), "1");
    EXPECT_EQ(field(status, "Mems_allowed_list"), "0");
  }
}

TEST_F(LimitsTest, WithoutACpusetItRunsEverywhere) {
  EXPECT_EQ(field(output(Native::container, workload({"cat", "/proc/self/status"})), "Cpus_allowed_list"),
            field(read_file("/proc/self/status"), "Cpus_allowed_list"));
}

TEST_F(LimitsTest, ACpuThatIsNotThereIsNamedAndNothingStays) {
  if (!has("cpuset")) GTEST_SKIP() << "no cpuset controller";
  Workload w = workload({"exit", "0"});
  w.limits.cpuset = "4000";
  const auto [code, sentence] = failure_of([&] { start(w); });
  EXPECT_EQ(code, Code::unsuited);
  EXPECT_THAT(sentence, HasSubstr("'4000'"));
  EXPECT_THAT(groups_left(), IsEmpty());
  EXPECT_TRUE(fs::is_empty(paths.instances()));
}

TEST_F(LimitsTest, SwapStandsBesideMemory) {
  Workload w = workload({"pause"});
  w.limits.memory = 64_MiB;
  w.limits.swap = 32_MiB;
  const auto instance = start(w);
  EXPECT_EQ(kernel_file(instance->id(), "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
            std::to_string((is_v2() ? 32 : 96) << 20));
}

TEST_F(LimitsTest, MemoryHighSlowsDownOnV2AndIsRefusedOnV1) {
  Workload w = workload({"hog", "40"});
  w.limits.memory_high = 20_MiB;
  if (!is_v2()) {
    const auto [code, sentence] = failure_of([&] { start(w); });
    EXPECT_EQ(code, Code::unsuited);
    EXPECT_THAT(sentence, HasSubstr("memory.high of cgroup v2"));
    EXPECT_THAT(groups_left(), IsEmpty());
    return;
  }
  const auto instance = start(w);
  EXPECT_TRUE(eventually([&] {
    const auto events = try_read_file("/sys/fs/cgroup/tare/" + instance->id() + "/memory.events");
    return events && keyed_number(*events, "high").value_or(0) > 0;
  }));
  EXPECT_EQ(instance->usage().oom_kills, 0U);
}

TEST_F(LimitsTest, IoReadsAreHeldBack) {
  const ReadableDisk disk(directory.path() / "disk");
  if (disk.numbers.empty()) GTEST_SKIP() << "no disk";
  Workload w = workload({"read-disk", disk.numbers, "4"});
  w.security = Security::none;  // else no container may open it
  const auto took = [&] {
    const Instant from = Instant::now();
    const auto instance = start(w);
    const auto exit = instance->wait(Deadline::in(60s));
    EXPECT_TRUE(exit && exit->ok()) << instance->log().text(Stream::out) << instance->log().text(Stream::err);
    if (!w.limits.io.empty()) {
      EXPECT_GE(instance->usage().io_read, 4_MiB);
    }
    return Instant::now() - from;
  };
  const auto free = took();
  w.limits.io = {{disk.numbers, 2_MiB, {}, {}, {}}};
  const auto held = took();
  EXPECT_GT(held, 1500ms);  // 4 MiB at 2 MiB a second
  EXPECT_GT(held, free + 1s);
}

TEST_F(LimitsTest, EveryIoLimitIsInTheKernelsFiles) {
  const std::string numbers = a_disk();
  if (numbers.empty()) GTEST_SKIP() << "no disk";
  Workload w = workload({"pause"});
  w.limits.io = {{numbers, 1_MiB, 2_MiB, 300, 400}};
  const auto instance = start(w);
  const auto file = [&](const std::string& v1) { return kernel_file(instance->id(), "blkio", "blkio.throttle." + v1, "io.max"); };
  if (is_v2()) {
    EXPECT_EQ(file(""), numbers + " rbps=1048576 wbps=2097152 riops=300 wiops=400");
  } else {
    EXPECT_EQ(file("read_bps_device"), numbers + " 1048576");
    EXPECT_EQ(file("write_bps_device"), numbers + " 2097152");
    EXPECT_EQ(file("read_iops_device"), numbers + " 300");
    EXPECT_EQ(file("write_iops_device"), numbers + " 400");
  }
}

TEST_F(LimitsTest, IoWeightIsSetOrRefusedWithTheReason) {
  Workload w = workload({"pause"});
  w.limits.io_weight = 300;
  try {
    const auto instance = start(w);
    std::vector<std::string> values;
    for (const char* file : {"blkio.bfq.weight", "blkio.weight", "io.bfq.weight", "io.weight"}) {
      const std::string value = kernel_file(instance->id(), "blkio", file, file);
      if (value != "no such file") values.push_back(value);
    }
    EXPECT_THAT(values, Not(IsEmpty()));
    EXPECT_THAT(values, Each(AnyOf("300", "default 300")));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unsuited);
    EXPECT_THAT(error.sentence(), HasSubstr("neither iocost nor BFQ"));
  }
}

TEST_F(LimitsTest, HugepagesAreLimited) {
  if (!has("hugetlb")) GTEST_SKIP() << "no hugetlb controller";
  Workload w = workload({"hugepages", "4"});
  w.limits.hugepages = {{2_MiB, 4_MiB}};
  const auto instance = start(w);
  EXPECT_EQ(kernel_file(instance->id(), "hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), "4194304");
  ASSERT_TRUE(instance->wait(Deadline::in(10s)));
  if (try_read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").value_or(0) < 4) {
    GTEST_SKIP() << "limits are set; this host has no huge pages to show their effect with";
  }
  EXPECT_EQ(instance->log().text(Stream::out), "2\n");
  EXPECT_EQ(output(Native::container, workload({"hugepages", "4"})), "4\n");
}

constexpr const char* kFuse = "10:229";  // opens without a capability, and does nothing then
constexpr const char* kLoop = "7:0";

TEST_F(LimitsTest, AContainerOpensNoDeviceThatIsNotListed) {
  EXPECT_EQ(output(Native::container, workload({"device", "c", kFuse, "/dev/node"})), "made\nOperation not permitted\n");
  EXPECT_EQ(output(Native::container, workload({"device", "b", kLoop, "/dev/node"})), "made\nOperation not permitted\n");
  EXPECT_EQ(output(Native::container, workload({"device", "c", "1:3", "/dev/node"})), "made\nopen\n");
  for (const char* name : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/ptmx"}) {
    EXPECT_EQ(output(Native::container, workload({"write", name})), "open\n") << name;
  }
  // The same for what exec adds.
  const auto instance = start(workload({"pause"}));
  EXPECT_EQ(inside(*instance, {"device", "c", kFuse, "/dev/node"}), "made\nOperation not permitted\n");
  EXPECT_EQ(instance->protections().at("devices"), "default list");
}

// A kernel may lack the driver; what counts is who says no.
TEST_F(LimitsTest, MetalAndSecurityNoneOpenEveryDevice) {
  Workload w = workload({"device", "c", kFuse, "/dev/node"});
  w.security = Security::none;
  const auto opens = ::testing::MatchesRegex("made\n(open|No such device.*)\n");
  EXPECT_THAT(output(Native::container, w), opens);
  w.command[2] = "b";
  w.command[3] = kLoop;
  EXPECT_THAT(output(Native::container, w), opens);
  if (fs::exists("/dev/kmsg")) {
    EXPECT_EQ(output(Native::metal, workload({"write", "/dev/kmsg"})), "open\n");
  }
  EXPECT_EQ(start(workload({"pause"}), Native::metal)->protections().at("devices"), "all");
}

TEST_F(LimitsTest, UpdateRaisesAndLowersWhileItRuns) {
  for (const Native kind : {Native::metal, Native::container}) {
    Workload w = workload({"spin", "60000"});
    w.limits.cpus = 0.2;
    w.limits.memory = 64_MiB;
    w.limits.pids = 10;
    const auto instance = start(w, kind);
    Limits change;
    change.cpus = 0.8;
    change.pids = 20;
    change.memory = 128_MiB;
    const auto slow = cpu_in(*instance, 600ms);
    instance->update(change);
    const auto fast = cpu_in(*instance, 600ms);
    EXPECT_LT(slow, 300ms) << name_of(kind);
    EXPECT_GT(fast, slow + slow / 2) << name_of(kind);
    EXPECT_EQ(inside(*instance, {"spawn", "50"}), "18\n");  // beside the workload and the one that counts
    EXPECT_EQ(kernel_file(instance->id(), "memory", "memory.limit_in_bytes", "memory.max"), std::to_string(128 << 20));
    change = {};
    change.pids = 5;
    change.memory = 32_MiB;
    instance->update(change);
    EXPECT_EQ(inside(*instance, {"spawn", "50"}), "3\n");
    EXPECT_EQ(kernel_file(instance->id(), "memory", "memory.memsw.limit_in_bytes", "memory.max"), std::to_string(32 << 20));
    EXPECT_GT(cpu_in(*instance, 600ms), slow + slow / 2) << "what was not given has changed";
  }
}

TEST_F(LimitsTest, UpdateBringsARunningTreeUnderAControllerItHadNot) {
  if (!has("cpuset")) GTEST_SKIP() << "no cpuset controller";
  const auto instance = start(workload({"tree"}));
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(10s)));
  ASSERT_TRUE(eventually([&] { return instance->usage().processes == 7U; }));
  Limits change;
  change.cpuset = "1";
  instance->update(change);
  EXPECT_EQ(instance->usage().processes, 7U);
  for (int pid = 1; pid <= 7; ++pid) {
    EXPECT_EQ(field(inside(*instance, {"cat", "/proc/" + std::to_string(pid) + "/status"}), "Cpus_allowed_list"), "1") << pid;
  }
  EXPECT_EQ(field(inside(*instance, {"cat", "/proc/self/status"}), "Cpus_allowed_list"), "1");
  change.cpuset = "0-1";
  instance->update(change);
  EXPECT_EQ(field(inside(*instance, {"cat", "/proc/1/status"}), "Cpus_allowed_list"), "0-1");
  instance->remove();
  EXPECT_THAT(groups_left(), IsEmpty());
}

TEST_F(LimitsTest, AnUpdateThatFailsHalfWayNamesTheLimitAndChangesNothing) {
  if (!has("hugetlb")) GTEST_SKIP() << "no hugetlb controller";
  Workload w = workload({"pause"});
  w.limits.pids = 10;
  w.limits.cpus = 0.5;
  const auto instance = start(w);
  const std::string quota = kernel_file(instance->id(), "cpu", "cpu.cfs_quota_us", "cpu.max");
  Limits change;
  change.pids = 20;
  change.cpus = 1;
  change.hugepages = {{64_MiB, 64_MiB}};  // no kernel of this architecture has such pages
  const auto [code, sentence] = failure_of([&] { instance->update(change); });
  EXPECT_THAT(sentence, AllOf(StartsWith("container 'test': limit hugepages of control group tare/" + instance->id()), HasSubstr("64MB")));
  EXPECT_EQ(kernel_file(instance->id(), "pids", "pids.max", "pids.max"), "10");
  EXPECT_EQ(kernel_file(instance->id(), "cpu", "cpu.cfs_quota_us", "cpu.max"), quota);
  change.hugepages.clear();
  instance->update(change);
  EXPECT_EQ(kernel_file(instance->id(), "pids", "pids.max", "pids.max"), "20");
  EXPECT_TRUE(eventually([&] { return instance->usage().processes == 1U; }));
}

TEST_F(LimitsTest, LessMemoryThanItUsesIsRefusedOnV1AndTheKernelsKillOnV2) {
  Workload w = workload({"hog", "40"});
  w.limits.memory = 128_MiB;
  const auto instance = start(w);
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(10s)));
  Limits change;
  change.memory = 16_MiB;
  if (is_v2()) {
    instance->update(change);
    const auto exit = instance->wait(Deadline::in(10s));
    EXPECT_TRUE(exit && exit->oom);
  } else {
    const auto [code, sentence] = failure_of([&] { instance->update(change); });
    EXPECT_THAT(sentence, AllOf(HasSubstr("limit memory of control group"), HasSubstr("it uses more than that already")));
    EXPECT_EQ(kernel_file(instance->id(), "memory", "memory.limit_in_bytes", ""), std::to_string(128 << 20));
  }
}

TEST_F(LimitsTest, APausedInstanceIsUpdatedAndAnEndedOneIsNot) {
  const auto instance = start(workload({"spin", "60000"}));
  instance->pause();
  Limits change;
  change.pids = 33;
  instance->update(change);
  EXPECT_EQ(instance->state(), State::paused);
  EXPECT_EQ(kernel_file(instance->id(), "pids", "pids.max", "pids.max"), "33");
  instance->resume();
  instance->stop(0ns);
  EXPECT_EQ(failure_of([&] { instance->update(change); }).first, Code::conflict);
}

TEST_F(LimitsTest, AChildKilledForMemoryIsToldWhenTheWorkloadFailsForIt) {
  for (const Native kind : {Native::metal, Native::container}) {
    Workload w = workload({"child-hog", "200", "137"});
    w.limits.memory = 32_MiB;
    const auto failed = start(w, kind);
    EXPECT_EQ(failed->wait(Deadline::in(20s)), (Exit{137, false, true}));
    EXPECT_GE(failed->usage().oom_kills, 1U);
    w.command.back() = "0";  // it got over it
    const auto survived = start(w, kind);
    EXPECT_EQ(survived->wait(Deadline::in(20s)), (Exit{0, false, false}));
    EXPECT_GE(survived->usage().oom_kills, 1U);
  }
}

}  // namespace
}  // namespace tare::container
