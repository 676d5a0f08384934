// SPDX-License-Identifier: Apache-2.0
// SIGKILL of an agent that has places and processes waiting: the next one removes them all, and keeps the instance that was started
// from one of them.
#include "tests/integration/instances_fixture.h"

namespace tare::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::size_t kPlaces = 8;  // NativeParts::parked

struct Case {
  const char* backend;
  const char* start;
  const char* userns;
};

/// All that a process is in or holds open.
std::set<std::string> network_namespaces() {
  std::set<std::string> found;
  std::error_code gone;
  for (const auto& process : fs::directory_iterator("/proc")) {
    if (!fs::exists(process.path() / "fd", gone)) continue;
    found.insert(fs::read_symlink(process.path() / "ns/net", gone));
    for (fs::directory_iterator fd(process.path() / "fd", gone), end; !gone && fd != end; fd.increment(gone)) {
      const std::string open = fs::read_symlink(fd->path(), gone);
      if (open.starts_with("net:[")) found.insert(open);
    }
  }
  found.erase("");  // of one that ended meanwhile
  return found;
}

class ParkedSurvival : public InstancesTest {
 protected:
  std::vector<std::string> parked(const Case& wanted, const std::string& script, std::vector<std::string> options = {}) const {
    options.insert(options.end(), {"--backend", wanted.backend, "--start", wanted.start, "--userns", wanted.userns, "--network", "link"});
    return run(options, script);
  }
  /// left() without what belongs to this instance.
  Census left_without(const std::string& id) const {
    Census found = left();
    const auto is_its = [&](const std::string& name) { return name.find(id.substr(1, 8)) != std::string::npos; };
    for (auto* names : {&found.control_groups, &found.interfaces, &found.mounts, &found.instances}) std::erase_if(*names, is_its);
    std::erase_if(found.processes, [&](const std::string& process) {
      return is_its(try_read_file("/proc/" + process.substr(0, process.find(' ')) + "/cgroup").value_or(""));
    });
    std::erase_if(found.id_ranges, [&](const std::string& first) {
      std::error_code gone;
      return is_its(fs::read_symlink(paths_.id_ranges() / first, gone));
    });
    return found;
  }
};

class ParkedSurvivalOf : public ParkedSurvival, public testing::WithParamInterface<Case> {};

TEST_P(ParkedSurvivalOf, WhatWaitedIsGoneAndWhatWasStartedFromItIsKept) {
  const Case wanted = GetParam();
  const Census before = left();
  const std::set<std::string> nets_before = network_namespaces();
  const Ended ended = tare(parked(wanted, "echo up; trap 'exit 6' TERM; sleep 1000 & wait", {"-d", "--name", "kept"}));
  ASSERT_EQ(ended.status, 0) << ended.err;
  const std::string id = ended.out.substr(0, ended.out.size() - 1);
  const std::string started_as = "\"start\":\"" + std::string(wanted.start) + "\"";
  EXPECT_THAT(one("kept"), HasSubstr(started_as));
  const Census waiting = left_without(id);
  ASSERT_EQ(waiting.instances.size(), before.instances.size() + kPlaces - 1);
  EXPECT_GE(waiting.control_groups.size(), before.control_groups.size() + kPlaces - 1);
  if (wanted.userns == std::string("auto")) {
    EXPECT_EQ(waiting.id_ranges.size(), before.id_ranges.size() + kPlaces - 1);
  }
  if (wanted.start == std::string("zygote")) {
    EXPECT_GE(waiting.processes.size(), before.processes.size() + kPlaces - 1);
  }
  if (wanted.start == std::string("zygote") && wanted.backend == std::string("container")) {
    EXPECT_GE(waiting.interfaces.size(), before.interfaces.size() + kPlaces - 1);
  }
  kill_agent();

  start_agent();
  EXPECT_TRUE(eventually([&] { return left_without(id) == before; }));
  EXPECT_EQ(left_without(id), before);
  EXPECT_THAT(one("kept"), AllOf(HasSubstr("\"state\":\"running\""), HasSubstr(started_as)));
  EXPECT_EQ(tare({"exec", "kept", "sh", "-c", "exit 3"}).status, 3);  // it is whole: its namespaces can be entered
  EXPECT_EQ(tare({"stop", "kept"}).status, 0);
  EXPECT_EQ(tare({"logs", "kept"}).out, "up\n");
  EXPECT_THAT(tare({"ps", "--all"}).out, HasSubstr("exited (6)"));
  EXPECT_EQ(tare({"rm", "kept"}).status, 0);
  EXPECT_EQ(left(), before);
  EXPECT_TRUE(eventually([&] { return network_namespaces().size() <= nets_before.size(); })) << "of its own and of those that waited";
}

TEST_P(ParkedSurvivalOf, AKillWhileTheyAreMadeLeavesNothing) {
  const Census before = left();
  for (std::size_t made = 1; made <= kPlaces; made += 2) {
    Running running = begin(parked(GetParam(), "sleep 1000"));  // attached, so it ends with its agent wherever that was
    const Deadline deadline = Deadline::in(15s);
    while (left().instances.size() < before.instances.size() + made && !deadline.passed()) continue;
    ASSERT_FALSE(deadline.passed()) << read_file(running.err);
    kill_agent();
    EXPECT_EQ(running.wait().status, 1) << made;
    start_agent();
    EXPECT_TRUE(eventually([&] { return left() == before; })) << made;
    ASSERT_EQ(left(), before) << made;
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, ParkedSurvivalOf,
                         testing::Values(Case{"metal", "pooled", "host"}, Case{"metal", "zygote", "host"},
                                         Case{"container", "pooled", "host"}, Case{"container", "zygote", "host"},
                                         Case{"container", "pooled", "auto"}, Case{"container", "zygote", "auto"}),
                         [](const auto& chosen) {
                           const std::string userns = chosen.param.userns == std::string("auto") ? "_userns" : "";
                           return chosen.param.backend + std::string("_") + chosen.param.start + userns;
                         });

TEST_F(ParkedSurvival, AsManyWaitAsTheConfigurationSays) {
  stop_agent();
  const Census before = left();
  start_agent("parked: 2\n");
  ASSERT_EQ(tare(parked({"container", "pooled", "host"}, "sleep 1000", {"-d", "--name", "kept"})).status, 0);
  EXPECT_EQ(left().instances.size(), before.instances.size() + 2) << "the one that was started, and one that waits";
}

TEST_F(ParkedSurvival, ARunWithLanesThatAreParkedLeavesNothing) {
  const Census before = left();
  const std::string suite =
      "name: lanes\nbackends: [metal:pooled, metal:zygote, container:pooled, container:zygote]\nworkloads:\n  w: {image: '" +
      image_.reference() +
      "', command: [sh, -c, 'exit 0'], network: link, ready: exit}\nexperiments:\n"
      "  - {name: e, measure: start, workload: w, trials: 10000, warmup: 0}\n";
  const std::string told = client().request("POST", "/tare/v1/runs", suite);
  const std::size_t at = told.find("\"id\":\"") + 6;
  const std::string id = told.substr(at, told.find('"', at) - at);
  const auto samples = [&] { return client().get("/tare/v1/runs/" + id + "/samples"); };
  for (const char* lane : {",metal,pooled,", ",metal,zygote,", ",container,pooled,", ",container,zygote,"}) {
    ASSERT_TRUE(eventually([&] { return samples().find(lane) != std::string::npos; })) << lane << "\n" << told << samples();
  }
  EXPECT_GE(left().instances.size(), before.instances.size() + 4 * (kPlaces - 1));
  kill_agent();
  start_agent();
  EXPECT_TRUE(eventually([&] { return left() == before; }));
  EXPECT_EQ(left(), before);
  EXPECT_THAT(client().get("/tare/v1/runs"), HasSubstr("interrupted"));
}

}  // namespace
}  // namespace tare::test
