// SPDX-License-Identifier: Apache-2.0
// SIGKILL of an agent whose libvirt asks QEMU what it can do, as at the first look with a new state directory.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <optional>
#include <thread>

#include "agent/client.h"
#include "core/files.h"
#include "core/process.h"
#include "tests/support/census.h"

namespace tare {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

struct Moment {
  std::size_t question;  // QEMU is started anew for each: the first, the second …
  std::chrono::milliseconds after;
};

class FirstLook : public testing::TestWithParam<Moment> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    fs::create_directories(paths_.state);
    fs::create_directory_symlink(Paths::from_environment().kernels(), paths_.kernels());
    std::ofstream(config_) << "vm: {accelerator: tcg}\n";  // the self-test of KVM takes half a minute where it fails
  }

  // A failed test has shown what stayed; this host need not keep it.
  void TearDown() override {
    for (const pid_t pid : with("/qmp.pid")) ::kill(pid, SIGKILL);
  }

  Child start_agent() const {
    const Fd log = open_file(dir_.path() / "agent.log", O_WRONLY | O_CREAT | O_APPEND);
    Child::Options options;
    options.argv = {TARE_BINARY_DIR "/bin/tare", "agent", "--config", config_};
    options.extra_environment = {"TARE_STATE_DIR=" + paths_.state.string(), "TARE_RUN_DIR=" + paths_.run.string()};
    options.stderr_fd = log.get();
    options.die_with_parent = true;
    return Child::spawn(options);
  }
  // Processes that have `text` and our state directory on their command line.
  std::vector<pid_t> with(const std::string& text) const {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string command = try_read_file(entry.path() / "cmdline").value_or("");
      const bool ours = command.find(text) != std::string::npos && command.find(paths_.state.string()) != std::string::npos;
      if (ours) found.push_back(std::stoi(entry.path().filename()));
    }
    return found;
  }
  // Until QEMU is started for the question that the moment names.
  void await_question() const {
    const Deadline deadline = Deadline::in(30s);
    std::set<std::string> asked;
    while (asked.size() < GetParam().question) {
      ASSERT_FALSE(deadline.passed()) << read_file(dir_.path() / "agent.log");
      for (const pid_t pid : with("/qmp.pid")) {
        const std::string command = try_read_file("/proc/" + std::to_string(pid) + "/cmdline").value_or("");
        if (const std::size_t at = command.find("/qmp-"); at != std::string::npos) asked.insert(command.substr(at, 11));
      }
    }
  }
  // The QEMU that has become a daemon: it alone writes its id into the file, and the process that forked it is gone soon
  // after. Only one process is seen before that, too: none of these two facts is enough by itself. 0 when there is none.
  pid_t await_daemon() const {
    const Deadline deadline = Deadline::in(10s);
    for (; !deadline.passed(); std::this_thread::sleep_for(5ms)) {
      const auto waiting = with("/qmp.pid");
      if (waiting.size() == 1 && id_in_file(waiting[0]) == std::to_string(waiting[0])) return waiting[0];
    }
    return 0;
  }
  static std::string id_in_file(pid_t emulator) {
    const std::string command = try_read_file("/proc/" + std::to_string(emulator) + "/cmdline").value_or("");
    const std::size_t option = command.find("-pidfile");
    if (option == std::string::npos) return "";
    const fs::path file = command.c_str() + option + sizeof("-pidfile");
    std::string id = try_read_file(file).value_or("");
    return id.substr(0, id.find('\n'));
  }
  static void kill(Child& child) {
    child.signal(SIGKILL);
    ASSERT_TRUE(child.wait(Deadline::in(5s)));
  }
  // What the census shows of this state directory.
  std::set<std::string> left() const {
    const test::Census now = test::census(paths_);
    std::set<std::string> found = now.processes;
    found.insert(now.records.begin(), now.records.end());
    for (const pid_t pid : with("")) found.insert(try_read_file("/proc/" + std::to_string(pid) + "/cmdline").value_or(""));
    return found;
  }

  const TempDir dir_{"/var/tmp"};
  const fs::path config_ = dir_.path() / "agent.yaml";
  const Paths paths_{dir_.path() / "state", dir_.path() / "run", {}};
};

TEST_P(FirstLook, NoQemuOutlivesAnAgentThatIsKilledWhileItAsks) {
  Child agent = start_agent();
  ASSERT_NO_FATAL_FAILURE(await_question());
  std::this_thread::sleep_for(GetParam().after);
  kill(agent);
  const Deadline deadline = Deadline::in(10s);
  while (!left().empty() && !deadline.passed()) std::this_thread::sleep_for(5ms);
  EXPECT_THAT(left(), testing::IsEmpty());
}

TEST_P(FirstLook, TheNextAgentFindsTheQemuWhenTheGuardWasKilledToo) {
  Child agent = start_agent();
  ASSERT_NO_FATAL_FAILURE(await_question());
  agent.signal(SIGSTOP);  // so that it has not got its answer before it is killed
  std::this_thread::sleep_for(GetParam().after);
  ASSERT_EQ(with("tare-guard").size(), 1U);
  ::kill(with("tare-guard")[0], SIGKILL);
  kill(agent);
  const pid_t waiting = await_daemon();
  ASSERT_NE(waiting, 0);

  Child next = start_agent();
  const agent::Client client(paths_.socket());
  const Deadline deadline = Deadline::in(20s);
  while (!client.answers() && !deadline.passed()) std::this_thread::sleep_for(5ms);
  EXPECT_THAT(with("/qmp.pid"), testing::Not(testing::Contains(waiting)));
  EXPECT_THAT(client.get("/tare/v1/host"), testing::HasSubstr("via libvirt"));  // its own look comes to an end
  EXPECT_THAT(left(), testing::Not(testing::Contains(testing::HasSubstr("qmp-"))));
  EXPECT_THAT(with("tare-guard"), testing::IsEmpty());  // only for the look
  next.signal(SIGTERM);
  EXPECT_TRUE(next.wait(Deadline::in(30s)));
}

// Before, while and after it makes itself a daemon; between two questions; and when another emulator is asked.
INSTANTIATE_TEST_SUITE_P(Moments, FirstLook,
                         testing::Values(Moment{1, 0ms}, Moment{1, 12ms}, Moment{1, 25ms}, Moment{1, 60ms}, Moment{2, 150ms},
                                         Moment{3, 30ms}),
                         [](const auto& chosen) {
                           return "question_" + std::to_string(chosen.param.question) + "_after_" +
                                  std::to_string(chosen.param.after.count()) + "_ms";
                         });

}  // namespace
}  // namespace tare
