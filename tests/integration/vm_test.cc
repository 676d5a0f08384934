// SPDX-License-Identifier: Apache-2.0
// The vm backend against real libvirt, QEMU and a stock kernel.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <thread>

#include "core/phases.h"
#include "tests/integration/vm_fixture.h"

namespace tare::vm {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(Vm, RunsAWorkloadToItsExitWithItsOutputAndAllMarksInOrder) {
  auto instance = start_program({"hello"});
  const auto exit = instance->wait(Deadline::in(20s));
  ASSERT_TRUE(exit);
  EXPECT_EQ(*exit, (Exit{7, false, false}));
  EXPECT_EQ(instance->log().text(Stream::out), "to stdout\n");
  EXPECT_EQ(instance->log().text(Stream::err), "to stderr\n");
  instance->remove();
  for (const Mark mark : {Mark::prepared, Mark::launched, Mark::kernel, Mark::init, Mark::executed, Mark::exited, Mark::removed}) {
    EXPECT_TRUE(timeline_.at(mark)) << name(mark);
  }
  EXPECT_EQ(timeline_.disorder(), std::nullopt);
}

TEST_F(Vm, AQ35FindsItsChannelBehindTheNetworkCardToo) {
  VmSettings settings = settings_;
  settings.machine = Machine::q35;
  backend_ = make_backend({paths_, groups_, std::make_shared<image::Store>(paths_), settings});
  Workload what = workload({"hello"});
  what.network = Network::link;
  auto instance = start(what);
  const auto exit = instance->wait(Deadline::in(20s));
  ASSERT_TRUE(exit);
  EXPECT_EQ(*exit, (Exit{7, false, false}));
  EXPECT_EQ(instance->log().text(Stream::out), "to stdout\n");
}

TEST_F(Vm, AGuestsMarksCarryItsClockAndAnErrorBound) {
  auto instance = start_program({"wait"});
  for (const Mark mark : {Mark::kernel, Mark::init, Mark::executed}) {
    const auto reading = timeline_.guest(mark);
    ASSERT_TRUE(reading) << name(mark);
    EXPECT_GT(reading->error_bound, 0ns);
    EXPECT_LT(reading->error_bound, 50ms);
    EXPECT_LE(*timeline_.at(mark), reading->arrived);
  }
  EXPECT_LT(timeline_.guest(Mark::init)->guest_nanoseconds, timeline_.guest(Mark::executed)->guest_nanoseconds);
}

// No workload is `ready` here: nobody asks its probe.
TEST_F(Vm, ThePhasesOfAStartAreAllMeasuredButForWhatDoesNotHappenAndAddUp) {
  auto instance = start_program({"wait"});
  double sum = 0;
  for (const Phase& phase : phases_of(timeline_)) {
    if (phase.name == "decompression") {
      EXPECT_FALSE(phase.seconds);
      EXPECT_THAT(phase.missing, StartsWith("none: "));
    } else if (phase.name != "ready") {
      ASSERT_TRUE(phase.seconds) << phase.name << ": " << phase.missing;
      EXPECT_GT(*phase.seconds, 0) << phase.name;
      if (phase.part_of.empty()) sum += *phase.seconds;
    }
  }
  EXPECT_NEAR(sum, timeline_.seconds(Mark::executed).value(), 1e-9);
}

TEST_F(Vm, LeavesNoTraceAfterRemoval) {
  Workload what = workload({"wait"});
  what.network = Network::link;
  auto instance = start(what);
  const std::string id = instance->id();
  EXPECT_TRUE(trace_of(id));
  instance->remove();
  EXPECT_FALSE(trace_of(id));
  EXPECT_EQ(instance->state(), State::removed);
  instance->remove();  // idempotent
}

TEST_F(Vm, DestructionOfARunningInstanceLeavesNoTrace) {
  auto instance = start_program({"wait"});
  const std::string id = instance->id();
  instance.reset();
  EXPECT_FALSE(trace_of(id));
}

TEST_F(Vm, TheWorkloadSeesItsArgumentsEnvironmentDirectoryAndHostname) {
  Workload what = workload({"self", "two words", ""});
  what.environment = {"COLOUR=red"};
  what.working_directory = "/bin";
  what.hostname = "weighed";
  auto instance = start(what);
  ASSERT_TRUE(instance->wait(Deadline::in(20s)));
  const std::string out = instance->log().text(Stream::out);
  EXPECT_THAT(out, HasSubstr("hostname=weighed\n"));
  EXPECT_THAT(out, HasSubstr("directory=/bin\n"));
  EXPECT_THAT(out, HasSubstr("argument=two words\nargument=\n"));
  EXPECT_THAT(out, HasSubstr("environment=COLOUR=red\n"));
  EXPECT_THAT(out, HasSubstr("environment=HOME=/root\n"));
}

TEST_F(Vm, TheWorkloadHasTheContainersCapabilitiesAndNoNewPrivileges) {
  auto instance = start_program({"show", "/proc/self/status"});
  ASSERT_TRUE(instance->wait(Deadline::in(20s)));
  const std::string out = instance->log().text(Stream::out);
  EXPECT_THAT(out, HasSubstr("CapInh:\t0000000000000000\n"));
  EXPECT_THAT(out, HasSubstr("CapPrm:\t00000000a80425fb\n"));
  EXPECT_THAT(out, HasSubstr("CapBnd:\t00000000a80425fb\n"));
  EXPECT_THAT(out, HasSubstr("NoNewPrivs:\t1\n"));
}

TEST_F(Vm, WritesGoToTheScratchDiskAndNotToTheImage) {
  auto instance = start_program({"write", "/bin/new"});
  EXPECT_EQ(*instance->wait(Deadline::in(20s)), (Exit{0, false, false}));
  EXPECT_EQ(instance->log().text(Stream::out), "written\n");
  EXPECT_FALSE(fs::exists(rootfs_ / "bin" / "new"));
}

TEST_F(Vm, NoLineOfTheOutputIsLost) {
  auto instance = start_program({"lines", "50000"});
  ASSERT_TRUE(instance->wait(Deadline::in(60s)));
  const auto lines = instance->log().lines();
  ASSERT_EQ(lines.size(), 50'000U);
  EXPECT_EQ(lines.back().text, "line 49999");
}

TEST_F(Vm, ASignalThatKillsTheWorkloadIsItsExit) {
  auto instance = start_program({"abort"});
  const auto exit = instance->wait(Deadline::in(20s));
  ASSERT_TRUE(exit);
  EXPECT_EQ(*exit, (Exit{SIGABRT, true, false}));
}

TEST_F(Vm, SignalsReachTheWorkload) {
  auto instance = start_program({"wait"});
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(10s)));
  EXPECT_FALSE(instance->wait(Deadline::in(50ms)));
  instance->signal(SIGTERM);
  EXPECT_EQ(*instance->wait(Deadline::in(10s)), (Exit{3, false, false}));
}

TEST_F(Vm, StopKillsATreeThatIgnoresSigtermAfterItsGrace) {
  auto instance = start_program({"stubborn"});
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(10s)));
  EXPECT_EQ(instance->stop(200ms), (Exit{SIGKILL, true, false}));
  EXPECT_TRUE(timeline_.at(Mark::stopping));
  EXPECT_TRUE(timeline_.at(Mark::exited));
}

TEST_F(Vm, ExecRunsBesideTheWorkloadAndTellsItsOutputAndExit) {
  auto instance = start_program({"wait"});
  const ExecResult result = instance->exec({"/bin/program", "hello"}, Deadline::in(20s));
  EXPECT_EQ(result.exit, (Exit{7, false, false}));
  EXPECT_EQ(result.out, "to stdout\n");
  EXPECT_EQ(result.err, "to stderr\n");
  EXPECT_EQ(instance->state(), State::running);
}

TEST_F(Vm, ExecFindsItsCommandInThePath) {
  auto instance = start_program({"wait"});
  EXPECT_EQ(instance->exec({"program", "hello"}, Deadline::in(20s)).exit.code, 7);
  try {
    instance->exec({"nothing-by-that-name"}, Deadline::in(20s));
    FAIL() << "it was found";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::not_found);
  }
}

TEST_F(Vm, ExecThatDoesNotEndInTimeIsKilled) {
  auto instance = start_program({"wait"});
  try {
    instance->exec({"/bin/program", "wait"}, Deadline::in(300ms));
    FAIL() << "it ended";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::timeout);
  }
  EXPECT_EQ(instance->exec({"/bin/program", "hello"}, Deadline::in(20s)).exit.code, 7);
}

TEST_F(Vm, APausedGuestStandsStillAndGoesOnWhenResumed) {
  auto instance = start_program({"wait"});
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(10s)));
  instance->pause();
  EXPECT_EQ(instance->state(), State::paused);
  instance->signal(SIGTERM);
  EXPECT_FALSE(instance->wait(Deadline::in(300ms)));
  instance->resume();
  EXPECT_TRUE(instance->wait(Deadline::in(10s)));
}

TEST_F(Vm, TheExitOfAGuestThatStoodStillIsNotDatedBack) {
  auto instance = start_program({"wait"});
  instance->pause();
  std::this_thread::sleep_for(500ms);
  instance->resume();
  const Instant resumed = Instant::now();
  instance->exec({"/bin/program", "hello"}, Deadline::in(10s));
  instance->stop(10s);
  EXPECT_GT(*timeline_.at(Mark::exited), resumed);
}

TEST_F(Vm, UsageCountsQemuAndTheGuest) {
  auto instance = start_program({"wait"});
  const Usage usage = instance->usage();
  ASSERT_TRUE(usage.cpu && usage.memory && usage.memory_pss && usage.guest_cpu && usage.guest_memory_used && usage.switches_voluntary);
  EXPECT_GT(*usage.cpu, 100ms);  // it booted a kernel
  EXPECT_GT(*usage.memory_pss, 30_MiB);
  ASSERT_TRUE(usage.vm_cpu_vcpu && usage.vm_cpu_emulator && usage.vm_cpu_iothread && usage.vm_cpu_vhost && usage.vm_vcpu_delay);
  EXPECT_GT(*usage.vm_cpu_vcpu, 50ms);
  EXPECT_GT(*usage.vm_cpu_emulator, 1ms);
  EXPECT_EQ(*usage.vm_cpu_iothread, 0ns);  // it has none
  const bool kvm = backend_->probe().accelerator == "kvm";
  EXPECT_EQ(usage.vm_exits.empty(), !kvm);
  for (const char* reason : {"io", "halt", "interrupt", "other"}) {
    if (kvm) {
      EXPECT_GT(usage.vm_exits.at(reason), 0U) << reason;
    }
  }
  EXPECT_GT(*usage.guest_memory_used, 5_MiB);
  EXPECT_LT(*usage.guest_memory_used, kDefaultMemory);
  EXPECT_FALSE(usage.network_receive);  // it has no link
  EXPECT_FALSE(usage.guest_network_receive);
  ASSERT_TRUE(usage.guest_steal && usage.guest_memory_total && usage.guest_io_read && usage.guest_io_reads);
  EXPECT_LT(*usage.guest_memory_used, *usage.guest_memory_total);
  EXPECT_LT(*usage.guest_memory_total, kDefaultMemory);
  EXPECT_GT(*usage.guest_memory_total, Bytes{kDefaultMemory.count / 2});
  EXPECT_GT(*usage.guest_io_read, 64_KiB);  // it mounted two disks and read a program
  EXPECT_GE(usage.guest_io_read->count, *usage.guest_io_reads * 512);
}

TEST_F(Vm, QemuLivesInTheInstancesControlGroup) {
  auto instance = start_program({"wait"});
  const int emulator = emulator_of(instance->id());
  const std::string membership = read_file("/proc/" + std::to_string(emulator) + "/cgroup");
  EXPECT_THAT(membership, HasSubstr("/tare/" + instance->id() + "\n"));
  EXPECT_THAT(read_file("/proc/self/cgroup"), Not(HasSubstr(instance->id())));
}

TEST_F(Vm, ALinkReachesTheWorkloadsPort) {
  Workload what = workload({"answer", "8080"});
  what.network = Network::link;
  what.ports = {8080};
  auto instance = start(what);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(8080);
  ASSERT_EQ(::inet_pton(AF_INET, instance->address().c_str(), &address.sin_addr), 1);
  char text[16] = {};
  const Deadline deadline = Deadline::in(10s);
  while (text[0] == '\0' && !deadline.passed()) {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) continue;
    if (::read(socket.get(), text, sizeof text - 1) < 0) break;
  }
  EXPECT_STREQ(text, "answer");
  const Usage usage = instance->usage();
  ASSERT_TRUE(usage.network_receive && usage.network_transmit);
  EXPECT_GT(usage.network_receive->count, 0U);
  EXPECT_GT(usage.network_transmit->count, 0U);
  const bool vhost = backend_->probe().accelerator == "kvm" && std::filesystem::exists("/dev/vhost-net");
  EXPECT_EQ(instance->protections().at("packets"), vhost ? "moved by the host's kernel: vhost-net" : "moved by QEMU");
}

TEST_F(Vm, TheAddressesOfALinkAreChosenUnderTheLockThatContainersTakeToo) {
  Workload what = workload({"wait"});
  what.network = Network::link;
  backend_->prepare(what);
  auto lock = std::make_optional(FileLock::wait(paths_.network_lock()));
  std::unique_ptr<Instance> instance;
  std::thread starting([&] { instance = backend_->start(what, timeline_); });
  std::this_thread::sleep_for(300ms);
  EXPECT_FALSE(timeline_.at(Mark::prepared));
  lock.reset();
  starting.join();
  EXPECT_NE(instance->address(), "");
}

TEST_F(Vm, ADeviceThatChangedIsLookedAtAgainByTheNextProbe) {
  settings_.device = paths_.state / "no-kvm";
  fs::create_directories(settings_.device);  // not even root opens a directory for writing
  const auto backend = make_backend({paths_, groups_, std::make_shared<image::Store>(paths_), settings_});
  EXPECT_THAT(backend->probe().reason, HasSubstr("open " + settings_.device.string()));
  fs::remove(settings_.device);
  EXPECT_EQ(backend->probe().reason, "this host has no " + settings_.device.string());
  EXPECT_TRUE(backend->probe().emulated);
}

TEST_F(Vm, TheLimitOfProcessesHoldsInTheGuest) {
  Workload what = workload({"fork", "50"});
  what.limits.pids = 10;
  auto instance = start(what);
  ASSERT_TRUE(instance->wait(Deadline::in(20s)));
  EXPECT_EQ(instance->log().text(Stream::out), "made 9\n");
}

TEST_F(Vm, ThreeGuestsRunAtTheSameTime) {
  backend_->prepare(workload({"hello"}));
  std::vector<std::thread> threads;
  std::vector<std::optional<Exit>> exits(3);
  std::vector<Timeline> timelines(3);
  for (std::size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      timelines[i].mark(Mark::requested);
      auto instance = backend_->start(workload({"hello"}), timelines[i]);
      exits[i] = instance->wait(Deadline::in(60s));
      instance->remove();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(exits[i], (Exit{7, false, false}));
    EXPECT_EQ(timelines[i].disorder(), std::nullopt);
  }
}

TEST_F(Vm, AKernelThatPanicsIsToldAsThatWithItsReason) {
  Workload what = workload({"panic"});
  what.security = Security::none;
  auto instance = start(what);
  try {
    instance->wait(Deadline::in(20s));
    FAIL() << "it has an exit";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::failed);
    EXPECT_THAT(error.sentence(), HasSubstr("; its kernel panicked: Kernel panic - not syncing: sysrq triggered crash"));
  }
}

TEST_F(Vm, AKilledQemuIsASentenceAndNotAHang) {
  auto instance = start_program({"wait"});
  ::kill(emulator_of(instance->id()), SIGKILL);
  try {
    instance->wait(Deadline::in(10s));
    FAIL() << "it has an exit";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::failed);
    EXPECT_THAT(error.sentence(), HasSubstr("vm 'test': the virtual machine ended without the workload's exit"));
  }
  const std::string id = instance->id();
  instance->remove();
  EXPECT_FALSE(trace_of(id));
}

TEST_F(Vm, ACommandThatTheImageLacksIsRefusedBeforeTheBoot) {
  Workload what = workload({});
  what.command = {"absent"};
  try {
    start(what);
    FAIL() << "it was started";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::not_found);
  }
  EXPECT_FALSE(timeline_.at(Mark::launched));
}

TEST_F(Vm, AGuestThatDoesNotStartInTimeIsGivenUpAndRemoved) {
  Workload what = workload({"wait"});
  what.start_timeout = 300ms;
  backend_->prepare(what);
  const auto before = groups_->ids();
  try {
    backend_->start(what, timeline_);
    FAIL() << "it was started";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::timeout);
    EXPECT_THAT(error.sentence(), HasSubstr("did not reach its init in time"));
  }
  EXPECT_EQ(groups_->ids(), before);
}

TEST_F(Vm, TooLittleMemoryForAGuestIsRefused) {
  Workload what = workload({"wait"});
  what.limits.memory = 16_MiB;
  EXPECT_THROW(start(what), Error);
  EXPECT_FALSE(timeline_.at(Mark::prepared));
}

TEST_F(Vm, TheLeastMemoryBoots) {
  Workload what = workload({"hello"});
  what.limits.memory = kLeastMemory;
  EXPECT_EQ(*start(what)->wait(Deadline::in(20s)), (Exit{7, false, false}));
}

}  // namespace
}  // namespace tare::vm
