// SPDX-License-Identifier: Apache-2.0
// The command line, typed. The only user of CLI11.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tare::agent::cli {

/// `tare run`: texts as they were typed; the agent says what is wrong with one.
struct RunOptions {
  std::string image;
  std::vector<std::string> command;  // of `tare exec` too
  std::string backend = "container";
  std::string name;
  bool detach = false;
  std::string memory, cpus, pids;
  std::string network, security, userns, start, vm_profile, hostname, working_directory, stop_grace;
  std::vector<std::string> environment;  // KEY=VALUE, or KEY for our own value
  std::vector<std::string> publish;      // HOST:PORT
  std::vector<std::string> dns;
  // From here on, and of what stands above command, environment and working_directory: of `tare exec` too.
  bool interactive = false;
  bool tty = false;
  std::string user;
  // `tare run` alone.
  bool init = false;
  bool read_only = false;
  std::string umask;
  std::vector<std::string> ulimits;  // NAME=SOFT[:HARD]
  std::vector<std::string> volumes;  // SOURCE:TARGET[:ro]
  std::vector<std::string> mounts;   // type=…,source=…,target=…
  std::vector<std::string> tmpfs;    // TARGET[:size=…]
  std::vector<std::string> devices;
};

struct Options {
  std::string verb;
  std::string suite;                                // bench, check: a file, or the name of one in configs/suites
  std::string run;                                  // show, explain, cancel: a run id, or "last"
  std::optional<std::uint64_t> seed;                // bench
  std::filesystem::path results = "results";        // bench
  std::vector<std::string> backends;                // bench
  std::optional<std::filesystem::path> config;      // agent and verbs that start one
  std::optional<std::filesystem::path> private_to;  // agent: run directory of the private agent of a verb, which holds our stdin
  RunOptions instance_run;
  std::vector<std::string> instances;  // logs, exec, stop, rm: ids or names
  std::string tail, since, grace;      // logs, logs, stop
  bool all = false;                    // ps
  bool follow = false;                 // logs
  bool timestamps = false;             // logs
  bool no_stdin = false;               // attach
  bool force = false;                  // rm
  bool json = false;
  bool csv = false;
  bool quiet = false;
};

/// Nothing when help was asked for and has been printed. Throws Error(usage) with "did you mean".
std::optional<Options> parse(int argc, const char* const* argv);

}  // namespace tare::agent::cli
