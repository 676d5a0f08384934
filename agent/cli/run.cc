// SPDX-License-Identifier: Apache-2.0
// `tare run`: starts a workload, shows its output as it comes, hands signals on, and ends with its exit code.
#include <boost/json.hpp>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <sys/socket.h>

#include "agent/cli/frame_output.h"
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"
#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent::cli {
namespace {

namespace json = boost::json;

constexpr int kPatience = 3;  // so many signals, and we leave; the lease ends with us

json::object environment_json(const std::vector<std::string>& entries) {
  json::object out;
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    if (equals != std::string::npos) {
      out[name] = entry.substr(equals + 1);
    } else if (const char* own = std::getenv(name.c_str()); own != nullptr) {  // NOLINT(concurrency-mt-unsafe): one thread
      out[name] = own;
    }
  }
  return out;
}

/// "8080:80" as {"host": "8080", "port": "80"}.
json::object published_json(const std::string& pair) {
  const std::size_t colon = pair.find(':');
  if (colon == std::string::npos) throw Error(Code::usage, "'" + pair + "' is no published port", "write --publish 8080:80");
  return {{"host", pair.substr(0, colon)}, {"port", pair.substr(colon + 1)}};
}

/// The body of POST /tare/v1/instances. What a value must look like is the agent's to say, by the table that reads suites.
std::string body_of(const RunOptions& run) {
  json::object workload;
  workload["image"] = run.image;
  const auto text = [&](const char* key, const std::string& value) {
    if (!value.empty()) workload[key] = value;
  };
  json::array command;
  for (const std::string& word : run.command) command.emplace_back(word);
  if (!command.empty()) workload["command"] = std::move(command);
  if (!run.environment.empty()) workload["environment"] = environment_json(run.environment);
  text("working_directory", run.working_directory);
  text("hostname", run.hostname);
  text("network", run.network);
  json::array servers;
  for (const std::string& server : run.dns) servers.emplace_back(server);
  if (!servers.empty()) workload["dns"] = std::move(servers);
  json::array ports;
  for (const std::string& pair : run.publish) ports.push_back(published_json(pair));
  if (!ports.empty()) workload["publish"] = std::move(ports);
  text("security", run.security);
  text("stop_grace", run.stop_grace);
  json::object limits;
  if (!run.memory.empty()) limits["memory"] = run.memory;
  if (!run.cpus.empty()) limits["cpus"] = run.cpus;
  if (!run.pids.empty()) limits["pids"] = run.pids;
  if (!limits.empty()) workload["limits"] = std::move(limits);
  json::object out;
  out["backend"] = run.backend;
  if (!run.name.empty()) out["name"] = run.name;
  out["workload"] = std::move(workload);
  return json::serialize(out);
}

int run_detached(const AgentSession& session, const RunOptions& run) {
  if (session.is_private()) {
    throw Error(Code::unavailable, "a detached workload needs an agent that stays, and none is running", "start one with `tare agent`");
  }
  print(text_at(parse_json(session.client().request("POST", "/tare/v1/instances", body_of(run))), "id") + "\n");
  return 0;
}

}  // namespace

int run(const Options& options, const MakeBackends&) {
  const RunOptions& wanted = options.instance_run;
  Interrupt interrupt;  // before anything is there that a signal should end in order
  AgentSession session(Paths::from_environment(), options.config);
  if (wanted.detach) return run_detached(session, wanted);
  Client::Opened stream = session.client().open("POST", "/tare/v1/instances?attach=1", body_of(wanted));
  const auto hand_on = [&](int number) {
    if (interrupt.count() >= kPatience) {
      note("tare: leaving; the workload is ended by the agent");
      session.abandon();
      ::_exit(128 + number);
    }
    const std::string order = frame(FrameKind::control, json::serialize(json::object{{"signal", ::sigabbrev_np(number)}}));
    ::send(stream.connection.get(), order.data(), order.size(), MSG_NOSIGNAL);
  };
  return status_of(write_frames(stream, interrupt, hand_on), wanted.name.empty() ? wanted.image : wanted.name);
}

}  // namespace tare::agent::cli
