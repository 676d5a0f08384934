// SPDX-License-Identifier: Apache-2.0
// Guests that do not boot: `start: restored` and `start: parked`.
#include <ctime>
#include <set>
#include <thread>

#include "core/readiness.h"
#include "tests/integration/vm_fixture.h"

namespace tare::vm {
namespace {

using testing::HasSubstr;

class VmClones : public Vm, public testing::WithParamInterface<Start> {
 protected:
  void SetUp() override {
    Vm::SetUp();
    before_ = instances();
  }
  void TearDown() override {
    if (!backend_) return;
    backend_->give_up_parked();
    EXPECT_EQ(instances(), before_);
  }
  std::set<std::string> instances() const {
    std::set<std::string> found;
    for (const std::string& id : groups_->ids()) found.insert(id);
    for (const auto& entry : fs::directory_iterator(paths_.instances())) found.insert(entry.path().filename());
    return found;
  }

  // Ready when it has said that it waits.
  Workload waiting(Start start = GetParam()) const {
    Workload out = workload({"wait"});
    out.ready.kind = Ready::Kind::log;
    out.ready.pattern = "waiting";
    out.start = start;
    return out;
  }
  Workload answering() const {
    Workload out = workload({"answer", "8080"});
    out.ready.kind = Ready::Kind::tcp;
    out.ready.port = 8080;
    out.ports = {8080};
    out.network = Network::link;
    out.start = GetParam();
    return out;
  }

 private:
  std::set<std::string> before_;
};

INSTANTIATE_TEST_SUITE_P(Starts, VmClones, testing::Values(Start::restored, Start::parked),
                         [](const auto& start) { return std::string(name(start.param)); });

TEST_P(VmClones, ACloneIsReadyAndEndsAsAGuestThatBooted) {
  const Workload what = waiting();
  auto instance = start(what);
  EXPECT_EQ(instance->started_as(), GetParam());
  EXPECT_EQ(instance->state(), State::running);
  await_ready(*instance, what.ready, timeline_, Deadline::in(5s));
  EXPECT_EQ(instance->log().text(Stream::out), "waiting\n");
  const Exit exit = instance->stop(10s);
  EXPECT_EQ(exit, (Exit{3, false, false}));
  const std::string id = instance->id();
  instance->remove();
  EXPECT_FALSE(trace_of(id));
  for (const Mark mark : {Mark::prepared, Mark::launched, Mark::ready, Mark::exited, Mark::removed})
    EXPECT_TRUE(timeline_.at(mark)) << name(mark);
  for (const Mark mark : {Mark::kernel, Mark::init, Mark::executed}) EXPECT_FALSE(timeline_.at(mark)) << "the template's: " << name(mark);
  EXPECT_EQ(timeline_.disorder(), std::nullopt);
}

TEST_P(VmClones, EachHasItsOwnNameAddressRandomnessAndTime) {
  const Workload what = answering();
  backend_->prepare(what);
  std::vector<Timeline> timelines(2);
  std::vector<std::unique_ptr<Instance>> clones;
  std::set<std::string> macs, uuids;
  for (Timeline& timeline : timelines) {
    timeline.mark(Mark::requested);
    clones.push_back(backend_->start(what, timeline));
    Instance& clone = *clones.back();
    await_ready(clone, what.ready, timeline, Deadline::in(5s));  // at its own address
    EXPECT_THAT(shown(clone, "/etc/hostname"), HasSubstr(clone.id()));
    EXPECT_THAT(shown(clone, "/proc/sys/kernel/hostname"), HasSubstr(clone.id()));
    EXPECT_THAT(shown(clone, "/etc/hosts"), HasSubstr(clone.id()));
    macs.insert(shown(clone, "/sys/class/net/eth0/address"));
    uuids.insert(shown(clone, "/proc/sys/kernel/random/uuid"));
    const std::string seconds = clone.exec({"/bin/program", "time"}, Deadline::in(10s)).out;
    EXPECT_NEAR(std::stod(seconds), static_cast<double>(std::time(nullptr)), 1.5);
  }
  EXPECT_NE(clones[0]->address(), clones[1]->address());
  EXPECT_EQ(macs.size(), 2U);
  EXPECT_EQ(uuids.size(), 2U);
}

TEST_P(VmClones, AReadOnlyRootHasTheClonesNameAndStaysReadOnly) {
  Workload what = waiting();
  what.read_only_root = true;
  what.mounts = {{Mount::Type::tmpfs, "", "/scratch", false, {}}};
  auto clone = start(what);
  EXPECT_THAT(shown(*clone, "/etc/hostname"), HasSubstr(clone->id()));
  EXPECT_EQ(clone->exec({"/bin/program", "do", "write /own", "write /scratch/own"}, Deadline::in(10s)).out,
            "write /own: Read-only file system\nwrite /scratch/own: written\n");
}

TEST_P(VmClones, WhatOneWritesNoOtherSees) {
  const Workload what = waiting();
  auto first = start(what);
  EXPECT_EQ(first->exec({"/bin/program", "write", "/own"}, Deadline::in(10s)).out, "written\n");
  Timeline timeline;
  timeline.mark(Mark::requested);
  auto second = backend_->start(what, timeline);
  EXPECT_NE(second->exec({"/bin/program", "show", "/own"}, Deadline::in(10s)).exit.code, 0);
  EXPECT_EQ(shown(*first, "/own"), "written\n");
}

TEST_P(VmClones, OneThatRunsOutlivesItsTemplate) {
  auto instance = start(waiting());
  backend_->give_up_parked();
  EXPECT_EQ(instance->exec({"/bin/program", "hello"}, Deadline::in(10s)).exit.code, 7);
  EXPECT_EQ(instance->stop(10s), (Exit{3, false, false}));
}

TEST_P(VmClones, WithoutPreparationTheGuestBootsAndSaysSo) {
  const Workload what = waiting();
  timeline_.mark(Mark::requested);
  auto instance = backend_->start(what, timeline_);
  EXPECT_EQ(instance->started_as(), Start::cold);
  EXPECT_TRUE(timeline_.at(Mark::executed));
}

TEST_P(VmClones, AWorkloadThatIsReadyWhenItHasEndedIsRefused) {
  Workload what = workload({"hello"});
  what.ready.kind = Ready::Kind::exit;
  what.start = GetParam();
  try {
    backend_->prepare(what);
    FAIL() << "it was frozen";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unsuited) << error.what();
    EXPECT_THAT(error.sentence(), HasSubstr("has no start: " + std::string(name(GetParam()))));
  }
}

TEST_P(VmClones, AKilledCloneIsASentenceAndNotAHang) {
  auto instance = start(waiting());
  ::kill(emulator_of(instance->id()), SIGKILL);
  EXPECT_THROW(instance->wait(Deadline::in(10s)), Error);
  const std::string id = instance->id();
  instance->remove();
  EXPECT_FALSE(trace_of(id));
}

class VmParked : public VmClones {};
INSTANTIATE_TEST_SUITE_P(Starts, VmParked, testing::Values(Start::parked));

TEST_P(VmParked, WhatWasTakenIsMadeAnewWhenItsInstanceIsRemoved) {
  const Workload what = waiting();
  for (int i = 0; i < 4; ++i) {
    backend_->prepare(what);
    Timeline timeline;
    timeline.mark(Mark::requested);
    EXPECT_EQ(backend_->start(what, timeline)->started_as(), Start::parked) << i;
  }
}

TEST_P(VmParked, OneThatDiedWhileItWaitedIsNotTaken) {
  const Workload what = waiting();
  backend_->prepare(what);
  for (const std::string& id : groups_->ids()) {
    if (const int emulator = emulator_of(id); emulator > 0) ::kill(emulator, SIGKILL);
  }
  std::this_thread::sleep_for(200ms);
  auto instance = start(what);
  EXPECT_EQ(instance->exec({"/bin/program", "hello"}, Deadline::in(10s)).exit.code, 7);
}

}  // namespace
}  // namespace tare::vm
