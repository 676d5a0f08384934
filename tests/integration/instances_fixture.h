// SPDX-License-Identifier: Apache-2.0
// An agent with the real backends on directories of its own, an image with a shell, and the program `tare` as people call it.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/client.h"
#include "core/error.h"
#include "core/files.h"
#include "core/process.h"
#include "tests/support/busybox_image.h"
#include "tests/support/census.h"

namespace tare::test {

using namespace std::chrono_literals;

class InstancesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    start_agent();
  }
  void TearDown() override {
    if (!agent_) return;
    for (const auto& entry : std::filesystem::directory_iterator(paths_.instances())) tare({"rm", "--force", entry.path().filename()});
    stop_agent();
  }

  Child spawn(const std::vector<std::string>& arguments, int out = -1, int err = -1, int in = -1) const {
    Child::Options options;
    options.argv = {TARE_BINARY_DIR "/bin/tare"};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.extra_environment = {"TARE_STATE_DIR=" + paths_.state.string(), "TARE_RUN_DIR=" + paths_.run.string()};
    options.stdin_fd = in;
    options.stdout_fd = out;
    options.stderr_fd = err;
    options.die_with_parent = true;
    return Child::spawn(options);
  }
  /// `configuration`: lines of agent.yaml.
  void start_agent(const std::string& configuration = {}) {
    write_file_atomic(dir_.path() / "agent.yaml", configuration);
    const Fd log = open_file(dir_.path() / "agent.log", O_WRONLY | O_CREAT | O_APPEND);
    agent_.emplace(spawn({"agent", "--config", dir_.path() / "agent.yaml"}, -1, log.get()));
    const Deadline deadline = Deadline::in(20s);
    while (!client().answers()) {
      ASSERT_FALSE(deadline.passed()) << read_file(dir_.path() / "agent.log");
      std::this_thread::sleep_for(5ms);
    }
  }
  void kill_agent() {
    agent_->signal(SIGKILL);
    agent_->wait(Deadline::in(5s));
    agent_.reset();
  }
  void stop_agent() {
    agent_->signal(SIGTERM);
    EXPECT_TRUE(agent_->wait(Deadline::in(30s))) << "the agent does not end";
    agent_.reset();
  }
  agent::Client client() const { return agent::Client(paths_.socket()); }

  struct Ended {
    int status = -1;
    std::string out;
    std::string err;
  };
  /// A verb that was spawned with files of ours, to its end.
  struct Running {
    Child child;
    std::filesystem::path out;
    std::filesystem::path err;
    Ended wait() {
      const auto exit = child.wait(Deadline::in(60s));
      EXPECT_TRUE(exit) << "it did not end: " << read_file(err);
      return {exit ? exit->status() : -1, read_file(out), read_file(err)};
    }
  };
  Running begin(const std::vector<std::string>& arguments, int in = -1) {
    const std::string number = std::to_string(++begun_);
    const auto out = dir_.path() / ("out" + number);
    const auto err = dir_.path() / ("err" + number);
    const Fd out_fd = open_file(out, O_RDWR | O_CREAT);
    const Fd err_fd = open_file(err, O_RDWR | O_CREAT);
    return {spawn(arguments, out_fd.get(), err_fd.get(), in), out, err};
  }
  Ended tare(const std::vector<std::string>& arguments) { return begin(arguments).wait(); }
  /// `tare run OPTIONS IMAGE sh -c SCRIPT`
  std::vector<std::string> run(std::vector<std::string> options, const std::string& script) const {
    options.insert(options.begin(), "run");
    options.insert(options.end(), {image_.reference(), "sh", "-c", script});
    return options;
  }
  template <class Condition>
  static bool eventually(Condition condition, std::chrono::nanoseconds most = 15s) {
    for (const Deadline deadline = Deadline::in(most); !deadline.passed(); std::this_thread::sleep_for(5ms)) {
      if (condition()) return true;
    }
    return condition();
  }
  /// What is on this host, but for the agent that a test may replace.
  Census left() const {
    Census found = census(paths_);
    found.programs.clear();
    // Orphans of a killed launcher may wait for this host's first process to reap them; they have no command line any more.
    std::erase_if(found.processes, [](const std::string& process) { return process.ends_with(' '); });
    return found;
  }
  std::string one(const std::string& name) const { return client().get("/tare/v1/instances/" + name); }

  BusyboxImage image_;
  TempDir dir_{"/var/tmp"};
  const Paths paths_{dir_.path() / "state", dir_.path() / "run", {}};
  std::optional<Child> agent_;
  int begun_ = 0;
};

/// Its agent emulates the VMs: no self-test of KVM, which takes half a minute where it fails.
class VmInstancesTest : public InstancesTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    std::filesystem::create_directories(paths_.state);
    std::filesystem::create_directory_symlink(Paths::from_environment().kernels(), paths_.kernels());
    begin_agent();
  }
  void begin_agent() { start_agent("vm: {accelerator: tcg}\n"); }
};

}  // namespace tare::test
