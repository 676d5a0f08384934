// SPDX-License-Identifier: Apache-2.0
// One instance against the real kernel: what isolation and limits really do.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "core/netlink.h"
#include "core/readiness.h"
#include "tests/integration/container_fixture.h"
#include "tests/support/failure_of.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string field(const std::string& status, const std::string& name) {
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ":")) return line.substr(line.find_first_not_of(" \t", name.size() + 1));
  }
  return "";
}

class BothBackends : public ::testing::TestWithParam<Native>, public NativeFixture {
 protected:
  std::unique_ptr<Instance> start(const Workload& w) { return make_backend(GetParam(), parts)->start(w, timeline); }
  Timeline timeline;
};
INSTANTIATE_TEST_SUITE_P(Native, BothBackends, ::testing::Values(Native::metal, Native::container),
                         [](const auto& kind) { return name_of(kind.param); });

TEST_P(BothBackends, MarksAreThereInOrder) {
  timeline.mark(Mark::requested);
  {
    const auto instance = start(workload({"exit", "0"}));
    ASSERT_TRUE(instance->wait(Deadline::in(10s)));
    instance->stop(1s);
  }
  for (const Mark mark : {Mark::prepared, Mark::launched, Mark::executed, Mark::stopping, Mark::exited, Mark::removed}) {
    EXPECT_TRUE(timeline.at(mark)) << name(mark);
  }
  EXPECT_FALSE(timeline.at(Mark::kernel));
  EXPECT_LE(timeline.at(Mark::prepared), timeline.at(Mark::launched));
  EXPECT_LE(timeline.at(Mark::launched), timeline.at(Mark::executed));
}

TEST_P(BothBackends, ExitCodesAndSignalsAreTold) {
  EXPECT_EQ(start(workload({"exit", "7"}))->wait(Deadline::in(10s)), (Exit{7, false, false}));
  EXPECT_EQ(start(workload({"exit", "0"}))->wait(Deadline::in(10s)), (Exit{0, false, false}));
  const auto paused = start(workload({"pause"}));
  EXPECT_EQ(paused->wait(Deadline::in(50ms)), std::nullopt);
  paused->signal(SIGKILL);
  EXPECT_EQ(paused->wait(Deadline::in(10s)), (Exit{SIGKILL, true, false}));
}

TEST_P(BothBackends, AHandlerSeesTheSignal) {
  const auto instance = start(workload({"term"}));
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(10s)));
  instance->signal(SIGTERM);
  EXPECT_EQ(instance->wait(Deadline::in(10s)), (Exit{42, false, false}));
  EXPECT_EQ(instance->log().text(Stream::out), "ready\nterm\n");
  EXPECT_EQ(failure_of([&] { instance->signal(SIGTERM); }).first, Code::conflict);
}

TEST_P(BothBackends, NoLineOfTheLogIsLost) {
  const auto instance = start(workload({"lines", "20000"}));
  ASSERT_TRUE(instance->wait(Deadline::in(20s)));
  EXPECT_TRUE(instance->log().wait_closed(Deadline::in(5s)));
  const std::string text = instance->log().text(Stream::out);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 20000);
  EXPECT_TRUE(text.ends_with("line 19999\n"));
  EXPECT_EQ(instance->log().text(Stream::err), "to stderr\n");
}

TEST_P(BothBackends, OnlyTheStandardStreamsAreOpen) {
  EXPECT_THAT(output(GetParam(), workload({"list", "/proc/self/fd"})),
              ::testing::MatchesRegex("0 /dev/null\n1 pipe:.*\n2 pipe:.*\n3 /proc/[0-9]+/fd\n"));
}

TEST_P(BothBackends, EnvironmentAndDirectoryReachTheWorkload) {
  Workload w = workload({"print", "A", "HOME", "NOT_SET"});
  w.environment = {"A=1", "A=2"};
  w.working_directory = "/made/for/it";
  EXPECT_EQ(output(GetParam(), w), "/made/for/it\n2\n/root\n-\n");
}

TEST_P(BothBackends, WritesNeverReachTheImage) {
  EXPECT_EQ(output(GetParam(), workload({"create", "/data/new"})), "created\n");
  EXPECT_FALSE(std::filesystem::exists(rootfs / "data/new"));
  EXPECT_FALSE(std::filesystem::exists("/data/new"));
}

TEST_P(BothBackends, CpuQuotaHolds) {
  Workload w = workload({"spin", "600"});
  w.limits.cpus = 0.2;
  const auto instance = start(w);
  ASSERT_TRUE(instance->wait(Deadline::in(20s)));
  const auto used = instance->usage().cpu;
  ASSERT_TRUE(used);
  EXPECT_LT(*used, 260ms);  // 0.2 × 600 ms, and a period of 20 ms more
  EXPECT_GT(*used, 50ms);
}

TEST_P(BothBackends, MemoryLimitEndsItAsOutOfMemory) {
  Workload w = workload({"hog", "200"});
  w.limits.memory = 32_MiB;
  const auto instance = start(w);
  const auto exit = instance->wait(Deadline::in(20s));
  ASSERT_TRUE(exit);
  EXPECT_TRUE(exit->oom) << text_of(*exit);
  EXPECT_EQ(exit->status(), 137);
  EXPECT_GE(instance->usage().oom_kills, 1U);
  EXPECT_LE(instance->usage().memory_peak, 32_MiB);
}

TEST_P(BothBackends, PidsLimitHolds) {
  Workload w = workload({"spawn", "50"});
  w.limits.pids = 10;
  EXPECT_EQ(output(GetParam(), w), "9\n");
}

TEST_P(BothBackends, UsageOfALivingWorkloadIsComplete) {
  const auto instance = start(workload({"hog", "20"}));
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(10s)));
  const Usage usage = instance->usage();
  ASSERT_TRUE(usage.cpu && usage.cpu_user && usage.cpu_system && usage.memory && usage.memory_peak && usage.memory_pss && usage.processes &&
              usage.switches_voluntary && usage.switches_involuntary && usage.io_read && usage.io_write && usage.oom_kills);
  EXPECT_EQ(usage.io_writes.has_value(), groups->layout().starts_with("v2"));  // v1 does not know who wrote what the page cache held
  EXPECT_GT(*usage.cpu, 1ms);
  EXPECT_GT(*usage.memory, 20_MiB);
  EXPECT_GT(*usage.memory_pss, 20_MiB);
  EXPECT_EQ(usage.processes, 1U);
  EXPECT_EQ(usage.oom_kills, 0U);
  EXPECT_FALSE(usage.network_receive);
}

TEST_P(BothBackends, PauseStopsItsClockAndResumeGoesOn) {
  const auto instance = start(workload({"spin", "60000"}));
  instance->pause();
  EXPECT_EQ(instance->state(), State::paused);
  const auto before = instance->usage().cpu;
  ::usleep(60'000);
  EXPECT_EQ(instance->usage().cpu, before);
  instance->resume();
  EXPECT_TRUE(eventually([&] { return instance->usage().cpu > before; }));
  EXPECT_EQ(failure_of([&] { instance->resume(); }).first, Code::conflict);
}

TEST_P(BothBackends, APausedInstanceCanBeStopped) {
  const auto instance = start(workload({"term"}));
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(10s)));
  instance->pause();
  EXPECT_EQ(instance->stop(5s).code, 42);
}

TEST_P(BothBackends, StopKillsTheWholeTreeAfterTheGrace) {
  const auto instance = start(workload({"tree"}));
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(10s)));
  EXPECT_TRUE(eventually([&] { return instance->usage().processes == 7U; }));
  const Exit exit = instance->stop(50ms);
  EXPECT_EQ(exit, (Exit{SIGKILL, true, false})) << text_of(exit);
  EXPECT_TRUE(eventually([&] { return instance->usage().processes == 0U; }));  // the kernel counts the dead a moment longer
}

TEST_P(BothBackends, ExecRunsInside) {
  const auto instance = start(workload({"pause"}));
  const ExecResult result = instance->exec({"/bin/w", "lines", "3"}, Deadline::in(10s));
  EXPECT_TRUE(result.exit.ok());
  EXPECT_EQ(result.out, "line 0\nline 1\nline 2\n");
  EXPECT_EQ(result.err, "to stderr\n");
  EXPECT_EQ(instance->exec({"/bin/w", "exit", "3"}, Deadline::in(10s)).exit.code, 3);
  instance->exec({"/bin/w", "create", "/data/from-exec"}, Deadline::in(10s));
  EXPECT_THAT(instance->exec({"w", "list", "/data"}, Deadline::in(10s)).out, HasSubstr("from-exec"));
}

TEST_P(BothBackends, ExecHasTheIsolationOfItsInstance) {
  const auto instance = start(workload({"pause"}));
  const auto inside = [&](const std::string& path) { return instance->exec({"/bin/w", "cat", path}, Deadline::in(10s)).out; };
  const std::string own = inside("/proc/self/status");
  const std::string first = instance->exec({"/bin/w", "list", "/proc/self/ns"}, Deadline::in(10s)).out;
  EXPECT_EQ(field(own, "CapEff"), GetParam() == Native::container ? "00000000a80425fb" : field(read_file("/proc/self/status"), "CapEff"));
  EXPECT_EQ(field(own, "NoNewPrivs"), GetParam() == Native::container ? "1" : "0");
  EXPECT_EQ(field(own, "Seccomp"), GetParam() == Native::container ? "2" : "0");
  EXPECT_EQ(instance->exec({"/bin/w", "list", "/proc/1/ns"}, Deadline::in(10s)).out == first, GetParam() == Native::container);
  // One line a hierarchy, on v2 only "0::/…"; inside a control group namespace its own group is the root.
  EXPECT_THAT(inside("/proc/self/cgroup"), HasSubstr(GetParam() == Native::container ? ":/\n" : ":/tare/" + instance->id()));
}

TEST_P(BothBackends, WhatCouldNotBeRemovedIsNamedAndASecondTryRemovesIt) {
  const auto instance = start(workload({"pause"}));
  const auto stubborn = paths.instances() / instance->id() / "upper" / "stubborn";
  const auto immutable = [&](int flags) {
    const Fd fd = open_file(stubborn, O_RDONLY | O_CREAT);
    return ::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags) == 0;
  };
  if (!immutable(FS_IMMUTABLE_FL)) GTEST_SKIP() << "the file system of the state directory has no immutable files";
  const auto [code, sentence] = failure_of([&] { instance->remove(); });
  EXPECT_THAT(sentence, HasSubstr(instance->id()));
  EXPECT_NE(instance->state(), State::removed);
  EXPECT_TRUE(immutable(0));
  instance->remove();
  EXPECT_EQ(instance->state(), State::removed);
}

TEST_P(BothBackends, ExecIsKilledAtItsDeadline) {
  const auto instance = start(workload({"pause"}));
  const auto [code, sentence] = failure_of([&] { instance->exec({"/bin/w", "pause"}, Deadline::in(100ms)); });
  EXPECT_EQ(code, Code::timeout);
  EXPECT_TRUE(eventually([&] { return instance->usage().processes == 1U; }));
}

TEST_P(BothBackends, FailingStepsAreSentences) {
  const auto of = [&](std::vector<std::string> command) {
    Workload w = workload({});
    w.command = std::move(command);
    return failure_of([&] { start(w); });
  };
  EXPECT_EQ(of({"/bin/absent"}).first, Code::not_found);
  std::ofstream(rootfs / "bin/plain") << "text";
  EXPECT_EQ(of({"/bin/plain"}).first, Code::invalid);
  std::filesystem::permissions(rootfs / "bin/plain", std::filesystem::perms::owner_all);
  const auto garbage = of({"/bin/plain"});
  EXPECT_EQ(garbage.first, Code::invalid);
  EXPECT_THAT(garbage.second, AllOf(HasSubstr(std::string(name_of(GetParam())) + " 'test': execute /bin/plain: Exec format error"),
                                    HasSubstr("neither a program")));
  std::ofstream(rootfs / "bin/script") << "#!/bin/no-such-shell\n";
  std::filesystem::permissions(rootfs / "bin/script", std::filesystem::perms::owner_all);
  EXPECT_THAT(of({"/bin/script"}).second, HasSubstr("interpreter"));
  Workload w = workload({"exit", "0"});
  w.working_directory = "/bin/w";
  EXPECT_THAT(failure_of([&] { start(w); }).second, HasSubstr("working directory /bin/w: Not a directory"));
  w = workload({"exit", "0"});
  w.image = "dir:/no/such/root";
  EXPECT_THAT(failure_of([&] { start(w); }).second, HasSubstr("/no/such/root"));
  EXPECT_THAT(groups_left(), ::testing::IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(paths.instances()));
}

TEST_P(BothBackends, TooLittleMemoryToStartIsSaid) {
  Workload w = workload({"hog", "1"});
  w.limits.memory = Bytes{4096};
  // The kernel may find out before or after execve; nobody may take it for a success.
  try {
    const auto exit = start(w)->wait(Deadline::in(10s));
    ASSERT_TRUE(exit);
    EXPECT_TRUE(exit->oom) << text_of(*exit);
  } catch (const Error& error) {
    EXPECT_THAT(error.sentence(), HasSubstr(std::string(name_of(GetParam())) + " 'test'"));
  }
  EXPECT_THAT(groups_left(), ::testing::IsEmpty());
}

TEST_P(BothBackends, ALinkInPlaceOfAMountPointIsRefused) {
  std::filesystem::create_directory_symlink("/tmp", rootfs / "proc");
  const auto [code, sentence] = failure_of([&] { start(workload({"exit", "0"})); });
  EXPECT_THAT(sentence, AllOf(HasSubstr("mount /proc"), HasSubstr("the image has a symbolic link there")));
}

class ContainerTest : public ::testing::Test, public NativeFixture {
 protected:
  std::unique_ptr<Instance> start(const Workload& w) { return make_backend(Native::container, parts)->start(w, timeline); }
  Timeline timeline;
};
class MetalTest : public ContainerTest {
 protected:
  std::unique_ptr<Instance> start(const Workload& w) { return make_backend(Native::metal, parts)->start(w, timeline); }
};

std::string host_namespace(const std::string& name) { return std::filesystem::read_symlink("/proc/self/ns/" + name).string(); }

TEST_F(ContainerTest, HasItsOwnNamespaces) {
  const std::string inside = output(Native::container, workload({"list", "/proc/self/ns"}));
  for (const char* name : {"mnt", "pid", "ipc", "uts", "net", "cgroup", "time"})
    EXPECT_THAT(inside, Not(HasSubstr(host_namespace(name)))) << name;
  EXPECT_THAT(inside, HasSubstr(host_namespace("user")));
}

TEST_F(MetalTest, SharesAllNamespacesButTheMountNamespace) {
  const std::string inside = output(Native::metal, workload({"list", "/proc/self/ns"}));
  for (const char* name : {"pid", "ipc", "uts", "net", "cgroup", "user"}) EXPECT_THAT(inside, HasSubstr(host_namespace(name))) << name;
  EXPECT_THAT(inside, Not(HasSubstr(host_namespace("mnt"))));
}

TEST_F(ContainerTest, HasDockersCapabilitiesAndNoNewPrivileges) {
  const std::string status = output(Native::container, workload({"cat", "/proc/self/status"}));
  for (const char* set : {"CapPrm", "CapEff", "CapBnd"}) EXPECT_EQ(field(status, set), "00000000a80425fb") << set;
  for (const char* set : {"CapInh", "CapAmb"}) EXPECT_EQ(field(status, set), "0000000000000000") << set;
  EXPECT_EQ(field(status, "NoNewPrivs"), "1");
  EXPECT_EQ(field(status, "Pid"), "1");
  EXPECT_EQ(field(status, "Seccomp"), "2");
  EXPECT_EQ(field(status, "Seccomp_filters"), "1");
  EXPECT_EQ(field(status, "Umask"), "0022");
}

TEST_F(ContainerTest, SaysWhichProtectionsAreInForce) {
  const auto protections = start(workload({"exit", "0"}))->protections();
  EXPECT_EQ(protections.at("namespaces"), "mount,pid,ipc,uts,net,cgroup,time");
  EXPECT_THAT(protections.at("seccomp"), ::testing::StartsWith("standard sha256:"));
  EXPECT_EQ(protections.at("keyring"), "own");
  EXPECT_EQ(protections.at("no_new_privs"), "1");
}

TEST_F(ContainerTest, HasAHostnameOfItsOwn) {
  Workload w = workload({"hostname"});
  w.hostname = "scale";
  EXPECT_EQ(output(Native::container, w), "scale\n");
  w = workload({"cat", "/etc/hosts"});
  w.hostname = "scale";
  EXPECT_THAT(output(Native::container, w), HasSubstr("127.0.1.1 scale\n"));
}

TEST_F(ContainerTest, KernelFilesAreReadOnlyOrMasked) {
  EXPECT_EQ(output(Native::container, workload({"write", "/proc/sys/kernel/core_pattern"})), "Read-only file system\n");
  EXPECT_EQ(output(Native::container, workload({"write", "/proc/irq/default_smp_affinity"})), "Read-only file system\n");
  EXPECT_EQ(output(Native::container, workload({"create", "/sys/power/made-up"})), "Read-only file system\n");
  EXPECT_EQ(output(Native::container, workload({"cat", "/proc/interrupts"})), "");
  EXPECT_EQ(output(Native::container, workload({"cat", "/proc/keys"})), "");
}

TEST_F(ContainerTest, SeesOnlyItself) {
  const std::string processes = output(Native::container, workload({"list", "/proc"}));
  EXPECT_THAT(processes, HasSubstr("\n1\n"));
  EXPECT_THAT(processes, Not(HasSubstr("\n2\n")));
  EXPECT_THAT(output(Native::container, workload({"cat", "/proc/net/dev"})), Not(HasSubstr("eth")));
  const std::string mounts = output(Native::container, workload({"cat", "/proc/self/mounts"}));
  EXPECT_THAT(mounts, AllOf(HasSubstr("overlay / overlay"), Not(HasSubstr("/sys/fs/cgroup"))));
}

TEST_F(ContainerTest, DevHasWhatProgramsExpect) {
  const std::string dev = output(Native::container, workload({"list", "/dev"}));
  for (const char* name :
       {"null", "zero", "full", "random", "urandom", "tty", "ptmx pts/ptmx", "fd /proc/self/fd", "shm", "mqueue", "pts"}) {
    EXPECT_THAT(dev, HasSubstr(name)) << name;
  }
  EXPECT_EQ(output(Native::container, workload({"create", "/dev/shm/x"})), "created\n");
}

TEST_F(ContainerTest, SecurityNoneKeepsTheNamespacesAndNothingElse) {
  Workload w = workload({"cat", "/proc/self/status"});
  w.security = Security::none;
  const std::string status = output(Native::container, w);
  EXPECT_EQ(field(status, "CapBnd"), field(read_file("/proc/self/status"), "CapBnd"));
  EXPECT_EQ(field(status, "NoNewPrivs"), "0");
  EXPECT_EQ(field(status, "Seccomp"), "0");
  EXPECT_EQ(field(status, "Pid"), "1");
}

TEST_F(ContainerTest, LinkLeadsToItsPorts) {
  Workload w = workload({"serve", "8080"});
  w.network = Network::link;
  w.ports = {8080};
  w.ready = {Ready::Kind::tcp, 8080, "/", "", {}};
  const auto instance = start(w);
  EXPECT_THAT(instance->address(), ::testing::StartsWith("10.213."));
  await_ready(*instance, w.ready, timeline, Deadline::in(10s));
  EXPECT_TRUE(timeline.at(Mark::ready));
  const Usage usage = instance->usage();
  ASSERT_TRUE(usage.network_receive && usage.network_transmit);
  EXPECT_GT(*usage.network_receive, Bytes{0});
  EXPECT_THAT(instance->exec({"/bin/w", "cat", "/proc/net/route"}, Deadline::in(5s)).out, HasSubstr("eth0\t00000000"));
  const std::string interface = netlink::interface_name(instance->id(), 'h');
  EXPECT_TRUE(std::filesystem::exists("/sys/class/net/" + interface));
  instance->remove();
  EXPECT_FALSE(std::filesystem::exists("/sys/class/net/" + interface));
}

std::string first_answer(const std::string& address, std::uint16_t port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET, address.c_str(), &to.sin_addr), 1);
  for (const Deadline deadline = Deadline::in(5s); !deadline.passed(); ::usleep(2000)) {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    char text[16] = {};
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 && ::read(socket.get(), text, sizeof text) > 0)
      return text;
  }
  return "";
}

TEST_F(ContainerTest, TheBridgeGivesItAnAddressAWayOutAndPublishedPorts) {
  Workload w = workload({"serve", "80"});
  w.network = Network::bridge;
  w.ports = {80};
  w.publish = {{38472, 80}};
  w.dns = {"192.0.2.53"};
  w.ready = {Ready::Kind::tcp, 80, "/", "", {}};
  const std::string forward = read_file("/proc/sys/net/ipv4/ip_forward");
  const auto instance = start(w);
  await_ready(*instance, w.ready, timeline, Deadline::in(10s));
  EXPECT_THAT(instance->address(), ::testing::StartsWith("10."));
  EXPECT_EQ(first_answer("127.0.0.1", 38472), "hello\n");
  EXPECT_THAT(instance->exec({"/bin/w", "cat", "/proc/net/route"}, Deadline::in(5s)).out, HasSubstr("eth0\t00000000"));
  EXPECT_THAT(instance->exec({"/bin/w", "cat", "/etc/resolv.conf"}, Deadline::in(5s)).out, HasSubstr("nameserver 192.0.2.53\n"));
  EXPECT_GT(instance->usage().network_receive.value(), Bytes{0});
  EXPECT_THAT(instance->protections().at("network"), HasSubstr("bridge tare0, " + instance->address()));
  EXPECT_EQ(instance->protections().at("mtu"), "1500");
  // A second one is refused by the port it wants, and leaves nothing.
  const auto [code, sentence] = failure_of([&] { start(w); });
  EXPECT_EQ(code, Code::conflict);
  // By the holder of the port, or where the kernel (before 6.2) lets a port be bound twice, by the rule that leads to it.
  EXPECT_THAT(sentence, AnyOf(HasSubstr("container 'test': port 38472 is in use"), HasSubstr("port 38472 of this host is published by")));
  instance->remove();
  EXPECT_FALSE(std::filesystem::exists("/sys/class/net/tare0"));
  EXPECT_EQ(read_file("/proc/sys/net/ipv4/ip_forward"), forward);
}

TEST_F(ContainerTest, HostNetworkIsTheHostsOwn) {
  Workload w = workload({"serve", "38473"});
  w.network = Network::host;
  w.ports = {38473};
  const auto instance = start(w);
  EXPECT_EQ(instance->address(), "127.0.0.1");
  EXPECT_EQ(first_answer("127.0.0.1", 38473), "hello\n");
  EXPECT_EQ(instance->protections().at("namespaces"), "mount,pid,ipc,uts,cgroup,time");
  EXPECT_EQ(instance->exec({"/bin/w", "cat", "/etc/resolv.conf"}, Deadline::in(5s)).out, try_read_file("/etc/resolv.conf").value_or(""));
  const auto [code, sentence] = failure_of([&] { start(w); });
  EXPECT_EQ(code, Code::conflict);
  EXPECT_THAT(sentence, HasSubstr("container 'test': port 38473 is in use by w (pid"));
}

TEST_F(MetalTest, APortInUseIsNamedWithItsProcess) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  Workload w = workload({"exit", "0"});
  w.ports = {ntohs(address.sin_port)};
  const auto [code, sentence] = failure_of([&] { start(w); });
  EXPECT_EQ(code, Code::conflict);
  EXPECT_THAT(sentence, AllOf(HasSubstr("port " + std::to_string(w.ports[0]) + " is in use by"), HasSubstr(std::to_string(::getpid()))));
}

TEST_F(MetalTest, ServesOnTheHost) {
  Workload w = workload({"serve", "38471"});
  w.ready = {Ready::Kind::tcp, 38471, "/", "", {}};
  const auto instance = start(w);
  EXPECT_EQ(instance->address(), "127.0.0.1");
  await_ready(*instance, w.ready, timeline, Deadline::in(10s));
}

}  // namespace
}  // namespace tare::container
