// SPDX-License-Identifier: Apache-2.0
// Control groups of this host through libcgroup.
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "core/process.h"
#include "tests/integration/container_fixture.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Child sleeper() {
  Child::Options options;
  options.argv = {"sleep", "60"};
  return Child::spawn(options);
}

TEST(HostControlGroups, SayTheirLayout) {
  EXPECT_THAT(make_control_groups()->layout(), ::testing::MatchesRegex("(v1|v2|hybrid): .*memory.*"));
}

TEST(HostControlGroups, AGroupHoldsTheProcessesAddedToIt) {
  const auto groups = make_control_groups();
  const auto group = groups->create(new_instance_id(), {});
  EXPECT_THAT(group->processes(), IsEmpty());
  const Child child = sleeper();
  group->add_process(child.pid());
  EXPECT_THAT(group->processes(), ::testing::ElementsAre(child.pid()));
  EXPECT_EQ(group->usage().processes, 1U);
  EXPECT_TRUE(group->kill_all(Deadline::in(5s)));
  EXPECT_THAT(group->processes(), IsEmpty());
}

TEST(HostControlGroups, AThreadEntersAloneWhereTheKernelAllowsIt) {
  const auto groups = make_control_groups();
  const auto group = groups->create(new_instance_id(), {});
  std::string where;
  std::optional<Child> child;
  std::thread([&] {
    if (!group->enter_thread()) return;
    where = read_file("/proc/thread-self/cgroup");
    child = sleeper();
  }).join();
  if (group->tasks_fds().empty()) GTEST_SKIP() << "pure cgroup v2: a thread cannot move alone";
  EXPECT_THAT(where, HasSubstr(group->path()));
  EXPECT_THAT(read_file("/proc/self/cgroup"), Not(HasSubstr(group->path())));
  EXPECT_THAT(group->processes(), Contains(child->pid()));
}

TEST(HostControlGroups, LimitsAreInTheKernelsFiles) {
  const auto groups = make_control_groups();
  Limits limits;
  limits.memory = 64_MiB;
  limits.pids = 12;
  const auto group = groups->create(new_instance_id(), limits);
  if (group->tasks_fds().empty()) {
    EXPECT_EQ(try_read_number("/sys/fs/cgroup/" + group->path() + "/pids.max"), 12U);
  } else {
    EXPECT_EQ(try_read_number("/sys/fs/cgroup/pids/" + group->path() + "/pids.max"), 12U);
    EXPECT_EQ(try_read_number("/sys/fs/cgroup/memory/" + group->path() + "/memory.limit_in_bytes"), 64U << 20);
  }
}

TEST(HostControlGroups, AGroupIsInNoHierarchyThatItDoesNotNeed) {
  const auto groups = make_control_groups();
  Limits limits;
  const auto plain = groups->create(new_instance_id(), limits);
  if (plain->tasks_fds().empty()) GTEST_SKIP() << "pure cgroup v2: one hierarchy for all";
  const auto exists = [](const ControlGroup& group, const std::string& controller) {
    return std::filesystem::exists("/sys/fs/cgroup/" + controller + "/" + group.path());
  };
  for (const char* controller : {"cpu", "cpuset", "devices", "hugetlb"}) EXPECT_FALSE(exists(*plain, controller)) << controller;
  for (const char* controller : {"cpuacct", "memory", "pids", "blkio"}) EXPECT_TRUE(exists(*plain, controller)) << controller;
  limits.cpus = 1;
  limits.cpuset = "0";
  const auto limited = groups->create(new_instance_id(), limits);
  for (const char* controller : {"cpu", "cpuset"}) EXPECT_TRUE(exists(*limited, controller)) << controller;
  EXPECT_EQ(limited->tasks_fds().size(), plain->tasks_fds().size() + 2);
}

TEST(HostControlGroups, ALimitThatTheKernelRefusesIsNamedAndTheGroupIsGone) {
  const auto groups = make_control_groups();
  const std::string id = new_instance_id();
  Limits limits;
  limits.pids = 5'000'000;  // above PID_MAX_LIMIT
  try {
    groups->create(id, limits);
    FAIL() << "created";
  } catch (const Error& error) {
    EXPECT_THAT(error.sentence(), HasSubstr("limit pids of control group tare/" + id));
  }
  EXPECT_THAT(groups->ids(), Not(Contains(id)));
}

TEST(HostControlGroups, WhatADeadOwnerLeftIsFoundAndRemoved) {
  const std::string id = new_instance_id();
  const pid_t owner = ::fork();
  if (owner == 0) {
    const auto groups = make_control_groups();
    const auto group = groups->create(id, {});
    Child child = sleeper();
    group->add_process(child.pid());
    ::_exit(0);  // no destructor runs
  }
  ASSERT_EQ(::waitpid(owner, nullptr, 0), owner);
  const auto groups = make_control_groups();
  EXPECT_THAT(groups->ids(), Contains(id));
  groups->remove_leftover(id);
  EXPECT_THAT(groups->ids(), Not(Contains(id)));
  groups->remove_leftover(id);  // again: nothing to do
}

TEST(HostControlGroups, TheParentGoesWithTheLastGroup) {
  const auto exists = [] {
    for (const char* tree : {"", "unified/", "memory/", "cpu/", "cpuset/", "devices/", "pids/", "blkio/"}) {
      if (std::filesystem::exists(std::string("/sys/fs/cgroup/") + tree + "tare")) return true;
    }
    return false;
  };
  {
    const auto groups = make_control_groups();
    groups->create(new_instance_id(), {});
    if (!groups->ids().empty()) GTEST_SKIP() << "another agent of this host has groups";
  }
  if (!make_control_groups()->ids().empty()) GTEST_SKIP() << "another agent of this host has groups";
  EXPECT_TRUE(eventually([&] { return !exists(); }));
}

}  // namespace
}  // namespace tare::container
