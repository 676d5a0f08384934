// SPDX-License-Identifier: Apache-2.0
// A real agent process with fake backends on directories of its own.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <fstream>
#include <optional>
#include <thread>

#include "agent/client.h"
#include "core/error.h"
#include "core/files.h"
#include "core/process.h"

namespace tare::test {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// A suite of `trials` measured trials a backend, without pause between them.
inline std::string suite(int trials, const std::string& command = "noop", const std::string& image = "tare/probe") {
  return "name: agent-test\nworkloads:\n  w: {image: " + image + ", command: [" + command + "], ready: exit}\nexperiments:\n" +
         "  - {name: e, measure: start, workload: w, trials: " + std::to_string(trials) + ", warmup: 0, settle: 0ms, timeout: 10s}\n";
}

class AgentTest : public testing::Test {
 protected:
  std::vector<std::string> environment() const {
    return {"TARE_STATE_DIR=" + (dir_.path() / "state").string(), "TARE_RUN_DIR=" + (dir_.path() / "run").string(),
            "TARE_FAKE_TRIAL_MS=" + std::to_string(trial_ms_), "TARE_FAKE_LOOK_MS=" + std::to_string(look_ms_)};
  }
  Child spawn(std::vector<std::string> arguments, int out = -1, int err = -1) const {
    Child::Options options;
    arguments.insert(arguments.begin(), TARE_FAKE);
    options.argv = std::move(arguments);
    options.extra_environment = environment();
    options.stdout_fd = out;
    options.stderr_fd = err;
    options.die_with_parent = true;
    return Child::spawn(options);
  }
  void start_agent(const std::string& yaml = "") {
    std::vector<std::string> arguments = {"agent"};
    if (!yaml.empty()) {
      std::ofstream(dir_.path() / "agent.yaml") << yaml;
      arguments.insert(arguments.end(), {"--config", (dir_.path() / "agent.yaml").string()});
    }
    const Fd log = open_file(dir_.path() / "agent.log", O_WRONLY | O_CREAT | O_APPEND);
    agent_.emplace(spawn(arguments, -1, log.get()));
    const Deadline deadline = Deadline::in(seconds(10));
    while (!client().answers()) {
      ASSERT_FALSE(deadline.passed()) << read_file(dir_.path() / "agent.log");
      std::this_thread::sleep_for(milliseconds(5));
    }
  }
  void kill_agent() {
    agent_->signal(SIGKILL);
    agent_->wait(Deadline::in(seconds(5)));
    agent_.reset();
  }
  fs::path socket() const { return dir_.path() / "run" / "tare.sock"; }
  agent::Client client() const { return agent::Client(socket()); }

  /// The verb, to its end.
  struct Ended {
    Exit exit;
    std::string out;
    std::string err;
  };
  Ended tare(const std::vector<std::string>& arguments) const {
    const Fd out = open_file(dir_.path() / "out", O_RDWR | O_CREAT | O_TRUNC);
    const Fd err = open_file(dir_.path() / "err", O_RDWR | O_CREAT | O_TRUNC);
    Child child = spawn(arguments, out.get(), err.get());
    const auto exit = child.wait(Deadline::in(seconds(60)));
    EXPECT_TRUE(exit) << "it did not end: " << read_file(dir_.path() / "err");
    return {exit.value_or(Exit{}), read_file(dir_.path() / "out"), read_file(dir_.path() / "err")};
  }
  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_.path() / name) << text;
    return dir_.path() / name;
  }
  /// Whatever the agent answers to these bytes, until it closes the connection or is silent for a second.
  std::string raw(const std::string& bytes) const {
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket().c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval patience{1, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    std::string answer;
    char chunk[4096];
    for (ssize_t n = 0; (n = ::recv(fd.get(), chunk, sizeof chunk, 0)) > 0;) answer.append(chunk, static_cast<std::size_t>(n));
    return answer;
  }
  std::string post(const std::string& yaml) const {
    const std::string body = client().request("POST", "/tare/v1/runs", yaml);
    const std::size_t at = body.find("\"id\":\"") + 6;
    return body.substr(at, body.find('"', at) - at);
  }
  std::string state_of(const std::string& run) const {
    const std::string body = client().get("/tare/v1/runs/" + run);
    const std::size_t at = body.find("\"state\":\"") + 9;
    return body.substr(at, body.find('"', at) - at);
  }
  bool wait_for_end(const std::string& run) const {
    const Deadline deadline = Deadline::in(seconds(60));
    while (state_of(run) == "running") {
      if (deadline.passed()) return false;
      std::this_thread::sleep_for(milliseconds(20));
    }
    return true;
  }
  std::vector<agent::SseParser::Message> events(const std::string& run, const std::string& last_id = "") const {
    const std::string head = last_id.empty() ? "" : "Last-Event-ID: " + last_id + "\r\n";
    const std::string answer = raw("GET /tare/v1/runs/" + run + "/events HTTP/1.1\r\nHost: x\r\n" + head + "\r\n");
    agent::SseParser parser;
    return parser.feed(answer.substr(answer.find("\r\n\r\n") + 4));
  }

  double trial_ms_ = 1;
  int look_ms_ = 0;
  TempDir dir_{"/var/tmp"};
  std::optional<Child> agent_;
};

}  // namespace tare::test
