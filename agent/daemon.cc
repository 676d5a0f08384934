// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon.h"

#include <malloc.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <future>
#include <thread>

#include "agent/api.h"
#include "agent/instance_api.h"
#include "agent/instances.h"
#include "agent/journal.h"
#include "agent/recovery.h"
#include "agent/server.h"
#include "bench/result.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent {
namespace {

// The verb that started us may have blocked them for itself.
void accept_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT: no thread exists yet
}

void stay_small() {
  // glibc gives each thread an arena of its own, which keeps what was freed; one is enough for a program that mostly waits.
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

void clean_up(const Paths& paths, const BackendSet& backends, Store& store) {
  for (const std::string& run : store.mark_interrupted()) {
    journal::warn("run " + run + " was interrupted when its agent ended; its samples are kept");
  }
  const Swept swept = sweep(paths, backends.control_groups());
  if (!swept.instances.empty()) journal::warn("removed what a dead agent left: " + std::to_string(swept.instances.size()) + " instances");
  for (const std::string& problem : swept.problems) journal::warn("left over: " + problem);
  try {
    backends.tidy();  // last: a domain whose QEMU was just swept is gone
  } catch (const Error& e) {
    journal::warn(std::string("left over: ") + e.what());
  }
}

// The results of the last run stay on /metrics when the agent is started again.
void show_last_result(Store& store, Metrics& metrics) {
  const auto last = store.last_finished();
  if (!last) return;
  const Store::Loaded loaded = store.load(*last);
  const auto summary = store.find(*last);
  const double at = summary && summary->finished_at ? *summary->finished_at : static_cast<double>(std::time(nullptr));
  metrics.set_result(loaded.suite, loaded.record, bench::analyse(loaded.suite, loaded.record, loaded.host), at);
}

// What /metrics can say before anybody asks. Its CPU time would look like the agent's own part of a trial, so runs wait until it is over.
void look_around(Runs& runs, Store& store, Metrics& metrics) {
  try {
    show_last_result(store, metrics);
    runs.examination(false);
  } catch (const std::exception& e) {
    journal::warn(std::string("first look at the host: ") + e.what());
  }
  ::malloc_trim(0);
}

// Before anything is adopted or swept: what a living agent runs is not ours to touch.
FileLock lock_run_directory(const Paths& paths) {
  std::error_code error;
  std::filesystem::create_directories(paths.run, error);
  auto lock = FileLock::try_lock(paths.run / "agent.lock");
  if (!lock) throw Error(Code::conflict, "another agent answers on " + paths.socket().string(), "use it, or stop it first");
  return std::move(*lock);
}

void serve(const DaemonOptions& options, const MakeBackends& make) {
  const Config& config = options.config;
  accept_signals();
  stay_small();
  journal::set_level(config.is_private ? journal::Level::error : journal::level_named(config.log_level));
  const FileLock lock = lock_run_directory(config.paths);
  const auto backends = make(config);  // forks the launcher: no thread exists yet
  Store store(config.paths.database());
  Instances instances(config.paths, *backends, !config.is_private);
  instances.adopt();
  clean_up(config.paths, *backends, store);
  EventHub hub;
  Metrics metrics;
  Runs runs(config.paths, *backends, store, hub, metrics);
  Api api(runs, store, metrics);
  add_instance_routes(api.router(), instances);
  ServerOptions server_options{config.paths.socket(), config.is_private ? std::nullopt : config.tcp_port, config.tcp_address,
                               config.event_streams, options.lease_fd};
  Server server(server_options, api, store, runs, hub, metrics);
  std::jthread first_look;
  if (!config.is_private) {
    std::promise<void> over;
    runs.hold_until(over.get_future().share());
    first_look = std::jthread([&, over = std::move(over)]() mutable {
      look_around(runs, store, metrics);
      over.set_value();
    });
  }
  journal::info("ready on " + config.paths.socket().string());
  server.run();
  journal::info("stopping");
}

}  // namespace

void run_agent(const DaemonOptions& options, const MakeBackends& make) {
  serve(options, make);
  if (options.config.is_private) remove_tree(options.config.paths.run);
}

}  // namespace tare::agent
