// SPDX-License-Identifier: Apache-2.0
// What waits for workloads that are not started cold: what it is when it goes, what it has while it waits, and what becomes of it.
#include <sys/wait.h>

#include <csignal>
#include <set>

#include "core/control_group.h"
#include "core/instance_dir.h"
#include "tests/integration/container_fixture.h"
#include "tests/support/failure_of.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

struct Variant {
  Native kind;
  Start start;
};

class Parked : public ::testing::TestWithParam<Variant>, public NativeFixture {
 protected:
  Parked() { backend = make_backend(GetParam().kind, parts); }
  Workload parked(std::vector<std::string> arguments) const {
    Workload workload = this->workload(std::move(arguments));
    workload.start = GetParam().start;
    return workload;
  }
  std::unique_ptr<Instance> start(const Workload& workload) {
    timeline = std::make_unique<Timeline>();
    timeline->mark(Mark::requested);
    return backend->start(workload, *timeline);
  }
  std::string output_of(Instance& instance) {
    EXPECT_TRUE(instance.wait(Deadline::in(20s)));
    EXPECT_TRUE(instance.log().wait_closed(Deadline::in(20s)));
    return instance.log().text(Stream::out);
  }
  /// Processes in the control groups of what waits.
  std::set<int> waiting() const {
    std::set<int> found;
    for (const std::string& id : groups_left()) found.merge(processes_of(id));
    return found;
  }
  std::set<int> processes_of(const std::string& id) const {
    const auto group = groups->adopt(id, {});
    const auto pids = group->processes();
    group->leave();
    return {pids.begin(), pids.end()};
  }
  bool is_zygote() const { return GetParam().start == Start::zygote; }

  std::unique_ptr<Timeline> timeline;  // outlives the instance of a test
  std::unique_ptr<Backend> backend;
};

TEST_P(Parked, WaitsForItsWorkloadAndIsNamedForWhatItIs) {
  const Workload workload = parked({"hostname"});
  backend->prepare(workload);
  EXPECT_THAT(groups_left(), SizeIs(parts.parked));
  EXPECT_THAT(waiting(), SizeIs(is_zygote() ? parts.parked : 0));
  const auto instance = start(workload);
  EXPECT_EQ(instance->started_as(), GetParam().start);
  if (GetParam().kind == Native::container) {
    EXPECT_EQ(output_of(*instance), instance->id() + "\n");
  }
  EXPECT_FALSE(timeline->disorder());
  for (const Mark mark : {Mark::prepared, Mark::launched, Mark::executed}) EXPECT_TRUE(timeline->at(mark)) << name(mark);
}

TEST_P(Parked, WithoutAnythingThatWaitsAStartIsColdAndSaysSo) {
  const auto instance = start(parked({"exit", "3"}));
  EXPECT_EQ(instance->started_as(), Start::cold);
  EXPECT_EQ(instance->wait(Deadline::in(20s))->code, 3);
}

TEST_P(Parked, ServesNoOtherWorkload) {
  Workload workload = parked({"exit", "0"});
  backend->prepare(workload);
  workload.limits.pids = 77;
  EXPECT_EQ(start(workload)->started_as(), Start::cold);
  workload = parked({"exit", "4"});
  const auto instance = start(workload);
  EXPECT_EQ(instance->started_as(), is_zygote() ? Start::cold : Start::pooled) << "a pool serves any command";
  EXPECT_EQ(instance->wait(Deadline::in(20s))->code, 4);
}

TEST_P(Parked, AHundredStartsFromAPoolOfEight) {
  const Workload workload = parked({"exit", "0"});
  backend->prepare(workload);
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) {
    backend->prepare(workload);  // makes one here and now, should the thread that does it be behind
    const auto instance = start(workload);
    EXPECT_EQ(instance->started_as(), GetParam().start) << i;
    EXPECT_TRUE(instance->wait(Deadline::in(20s))->ok());
    ids.insert(instance->id());
    instance->remove();
  }
  EXPECT_THAT(ids, SizeIs(100));
  backend->prepare(workload);  // after the last refill
  EXPECT_THAT(groups_left(), SizeIs(parts.parked));
}

TEST_P(Parked, IsGoneWithItsBackendOrWhenItIsGivenUp) {
  const Workload workload = parked({"exit", "0"});
  backend->prepare(workload);
  backend->give_up_parked();
  EXPECT_THAT(groups_left(), IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(paths.instances()));
  backend->prepare(workload);
  EXPECT_THAT(groups_left(), SizeIs(parts.parked));
  backend.reset();
  EXPECT_THAT(groups_left(), IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(paths.instances()));
}

TEST_P(Parked, AnotherAgentFindsWhatAKilledOneLeft) {
  const pid_t agent = ::fork();
  if (agent == 0) {
    NativeParts own = parts;
    own.launcher = Launcher::start_private(paths);
    const auto theirs = make_backend(GetParam().kind, own);
    theirs->prepare(parked({"exit", "0"}));
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(agent, &status, 0), agent);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto orphans = orphaned_instances(paths);
  EXPECT_THAT(orphans, SizeIs(parts.parked));
  for (const std::string& id : orphans) {
    EXPECT_TRUE(eventually([&] { return processes_of(id).empty(); })) << "it ends with its launcher, which ends with its agent";
    groups->remove_leftover(id);
    remove_tree(paths.instances() / id);
  }
}

TEST_P(Parked, AKeptOneIsRecordedBeforeItRuns) {
  const Workload workload = parked({"pause"});
  backend->prepare(workload);
  Timeline kept;
  kept.mark(Mark::requested);
  std::string recorded;
  const auto instance = backend->start_kept([&](const InstanceDir& own) { recorded = own.instance_id(); }, workload, kept);
  EXPECT_EQ(instance->id(), recorded);
  EXPECT_EQ(instance->started_as(), GetParam().start);
  EXPECT_TRUE(std::filesystem::exists(paths.instances() / recorded / "plan"));
  EXPECT_EQ(read_file(paths.instances() / recorded / "start"), name(GetParam().start)) << "for the agent that adopts it";
}

INSTANTIATE_TEST_SUITE_P(Native, Parked,
                         ::testing::Values(Variant{Native::metal, Start::pooled}, Variant{Native::container, Start::pooled},
                                           Variant{Native::metal, Start::zygote}, Variant{Native::container, Start::zygote}),
                         [](const auto& of) { return std::string(name_of(of.param.kind)) + "_" + std::string(name(of.param.start)); });

class Zygote : public Parked {};
/// metal has no protections, and the host's ports.
class ContainerZygote : public Parked {};

TEST_P(Zygote, OneThatDiedIsReplacedByTheNext) {
  const Workload workload = parked({"exit", "0"});
  backend->prepare(workload);
  const auto before = waiting();
  ASSERT_THAT(before, SizeIs(parts.parked));
  for (const int pid : before) {
    if (pid != *before.rbegin()) ::kill(pid, SIGKILL);
  }
  EXPECT_TRUE(eventually([&] { return waiting().size() == 1; }));
  const auto instance = start(workload);
  EXPECT_EQ(instance->started_as(), Start::zygote);
  EXPECT_TRUE(instance->wait(Deadline::in(20s))->ok());
}

TEST_P(Zygote, WhenAllHaveDiedTheStartIsColdAndTheNextFillMakesNewOnes) {
  const Workload workload = parked({"exit", "0"});
  backend->prepare(workload);
  for (const int pid : waiting()) ::kill(pid, SIGKILL);
  EXPECT_TRUE(eventually([&] { return waiting().empty(); }));
  EXPECT_EQ(start(workload)->started_as(), Start::cold);
  backend->prepare(workload);
  EXPECT_EQ(start(workload)->started_as(), Start::zygote);
}

TEST_P(Zygote, HoldsNothingButItsStreamsAndTheChannelOfItsGo) {
  backend->prepare(parked({"list", "/proc/self/fd"}));
  for (const int pid : waiting()) {
    std::set<std::string> open;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd"))
      open.insert(entry.path().filename());
    EXPECT_EQ(open, (std::set<std::string>{"0", "1", "2", "3"}));
    EXPECT_THAT(std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/fd/3").string(), HasSubstr("socket:"));
  }
  const auto instance = start(parked({"list", "/proc/self/fd"}));
  const std::string open = output_of(*instance);
  EXPECT_EQ(std::count(open.begin(), open.end(), '\n'), 4) << "its streams and the directory that it lists: " << open;
  EXPECT_THAT(open, Not(HasSubstr("socket:")));
}

TEST_P(ContainerZygote, HasTheWorkloadsProtectionsWhileItWaits) {
  backend->prepare(parked({"pause"}));
  const auto pids = waiting();
  ASSERT_THAT(pids, SizeIs(parts.parked));
  const std::string status = read_file("/proc/" + std::to_string(*pids.begin()) + "/status");
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2"));
  EXPECT_THAT(status, HasSubstr("CapEff:\t00000000a80425fb"));
}

TEST_P(Zygote, ThatCannotExecuteSaysWhatAColdStartWouldSay) {
  const Workload workload = parked({});
  backend->prepare(workload);
  std::filesystem::resize_file(rootfs / "bin/w", 0);  // no program any more
  const auto [code, sentence] = failure_of([&] { start(workload); });
  EXPECT_THAT(sentence, HasSubstr("execute /bin/w"));
  EXPECT_EQ(code, Code::invalid);
}

TEST_P(ContainerZygote, CannotPublishAPort) {
  Workload workload = parked({"pause"});
  workload.network = Network::bridge;
  workload.publish = {{18080, 80}};
  const auto [code, sentence] = failure_of([&] { backend->prepare(workload); });
  EXPECT_EQ(code, Code::unsuited);
  EXPECT_THAT(sentence, HasSubstr("start: zygote cannot publish ports"));
  EXPECT_THAT(groups_left(), IsEmpty());
}

TEST_P(Zygote, EndsWithTheAgentsConnectionWhereTheLauncherStays) {
  parts.launcher = Launcher::connect(paths);
  backend = make_backend(GetParam().kind, parts);
  const Workload workload = parked({"pause"});
  backend->prepare(workload);
  auto kept = backend->start_kept([](const InstanceDir&) {}, workload, *(timeline = std::make_unique<Timeline>()));
  const auto all = waiting();
  ASSERT_THAT(all, SizeIs(parts.parked));
  const auto second = Launcher::connect(paths);
  EXPECT_THAT(second->known(), SizeIs(1)) << "only what has executed";
  kept->leave();
  const std::string id = kept->id();
  kept.reset();
  // The connection goes, with nobody to take leave: what waits is the launcher's to end.
  backend.reset();
  parts.launcher.reset();
  EXPECT_THAT(second->known(), SizeIs(1));
  EXPECT_TRUE(eventually([&] { return waiting().size() == 1; }));
  second->signal(id, SIGKILL);
  second->forget(id);
  groups->remove_leftover(id);
}

INSTANTIATE_TEST_SUITE_P(Native, ContainerZygote, ::testing::Values(Variant{Native::container, Start::zygote}));
INSTANTIATE_TEST_SUITE_P(Native, Zygote,
                         ::testing::Values(Variant{Native::metal, Start::zygote}, Variant{Native::container, Start::zygote}),
                         [](const auto& of) { return name_of(of.param.kind); });

}  // namespace
}  // namespace tare::container
