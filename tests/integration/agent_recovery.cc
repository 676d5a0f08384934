// SPDX-License-Identifier: Apache-2.0
// SIGKILL of an agent whose workloads run: the next agent removes every process, control group, link, mount and directory of theirs.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <thread>

#include "agent/client.h"
#include "core/files.h"
#include "core/process.h"
#include "tests/support/census.h"

namespace tare {
namespace {

using namespace std::chrono_literals;
using test::census;

struct Case {
  const char* backend;
  const char* network;  // and the keys of a workload that go with it
};

class AgentRecovery : public testing::TestWithParam<Case> {
 protected:
  Child start(const std::vector<std::string>& arguments) {
    Child::Options options;
    options.argv = {TARE_BINARY_DIR "/bin/tare"};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.extra_environment = {"TARE_STATE_DIR=" + paths_.state.string(), "TARE_RUN_DIR=" + paths_.run.string()};
    options.die_with_parent = true;
    return Child::spawn(options);
  }
  bool instance_exists() const {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(paths_.instances(), ignored)) {
      if (entry.is_directory()) return true;
    }
    return false;
  }

  // What the census shows of the instances that ran at the kill, by their ids and by the agent's own directory.
  std::set<std::string> traces() const {
    const test::Census now = census(paths_);
    std::set<std::string> found;
    for (const auto* names : {&now.control_groups, &now.interfaces, &now.mounts, &now.processes, &now.temporary, &now.records}) {
      for (const std::string& name : *names) {
        bool ours = name != dir_.path() && name.find(dir_.path().string()) != std::string::npos;
        for (const std::string& id : ids_) ours = ours || name.find(id.substr(1, 8)) != std::string::npos;
        if (ours) found.insert(name);
      }
    }
    return found;
  }

  TempDir dir_{"/var/tmp"};
  std::set<std::string> ids_;
  const Paths paths_{dir_.path() / "state", dir_.path() / "run", {}};
};

TEST_P(AgentRecovery, TheNextAgentRemovesWhatAKilledOneLeft) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  std::filesystem::create_directories(paths_.state);
  // Only a VM needs a guest kernel, and an agent that has one unpacks it at its start, beside everything else.
  if (GetParam().backend == std::string("vm")) {
    std::filesystem::create_directory_symlink(Paths::from_environment().kernels(), paths_.kernels());
  }
  const auto before = census(paths_).rules;
  const auto config = dir_.path() / "agent.yaml";
  std::ofstream(config) << "vm: {accelerator: tcg}\n";  // the self-test of KVM takes half a minute where it fails
  const auto suite = dir_.path() / "s.yaml";
  std::ofstream(suite) << "name: r\nbackends: [" << GetParam().backend
                       << "]\nworkloads:\n  w: {image: tare/probe, command: [probe, serve, --port=18231], "
                       << "ports: [18231, 18232], network: " << GetParam().network << ", ready: {tcp: 18232}}\nexperiments:\n"
                       << "  - {name: e, measure: start, workload: w, trials: 1, warmup: 0, timeout: 60s}\n";
  Child agent = start({"agent", "--config", config.string()});
  const agent::Client client(paths_.socket());
  Deadline deadline = Deadline::in(10s);
  while (!client.answers() && !deadline.passed()) std::this_thread::sleep_for(5ms);
  // Its workload listens on another port than the probe asks, so the instance stays for the length of the trial.
  client.request("POST", "/tare/v1/runs", read_file(suite));
  deadline = Deadline::in(60s);
  // A VM's link is made before its QEMU: without waiting for that, the kill could come too early to prove anything.
  const auto runs = [&] {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(paths_.instances(), ignored)) ids_.insert(entry.path().filename());
    const auto found = traces();
    // libvirt's record of the domain's; a QEMU that it only asks what it can do has none.
    const auto is_emulator = [](const std::string& name) { return name.ends_with(".pid"); };
    return found.size() >= 3 && (GetParam().backend != std::string("vm") || std::any_of(found.begin(), found.end(), is_emulator));
  };
  while (!runs() && !deadline.passed()) std::this_thread::sleep_for(5ms);
  ASSERT_TRUE(instance_exists());
  std::this_thread::sleep_for(300ms);
  ASSERT_TRUE(runs()) << "at least groups and a link, and a VM's QEMU";
  agent.signal(SIGKILL);
  agent.wait(Deadline::in(5s));

  Child next = start({"agent", "--config", config.string()});
  deadline = Deadline::in(20s);
  while (!client.answers() && !deadline.passed()) std::this_thread::sleep_for(5ms);
  EXPECT_FALSE(instance_exists());
  EXPECT_THAT(traces(), testing::IsEmpty());
  EXPECT_EQ(census(paths_).rules, before);
  EXPECT_THAT(client.get("/tare/v1/runs"), testing::HasSubstr("interrupted"));
  next.signal(SIGTERM);
  next.wait(Deadline::in(30s));
}

INSTANTIATE_TEST_SUITE_P(Backends, AgentRecovery,
                         testing::Values(Case{"metal", "link"}, Case{"container", "link"}, Case{"vm", "link"},
                                         Case{"container", "bridge, publish: [{host: 18233, port: 18231}]"},
                                         Case{"vm", "bridge, publish: [{host: 18233, port: 18231}]"}),
                         [](const auto& chosen) {
                           const std::string network = chosen.param.network;
                           return chosen.param.backend + std::string("_") + network.substr(0, network.find(','));
                         });

}  // namespace
}  // namespace tare
