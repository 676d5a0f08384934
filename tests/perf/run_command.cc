// SPDX-License-Identifier: Apache-2.0
// The whole command `tare run IMAGE COMMAND` through a running agent, our client process included, beside `crun run`, `runc run`, `bwrap`,
// `systemd-nspawn` and `docker run` with Debian's dockerd, on the same root file system.
#include <csignal>

#include "agent/client.h"
#include "core/error.h"
#include "core/process.h"
#include "tests/perf/peer.h"
#include "tests/perf/perf.h"

namespace tare {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

const std::vector<std::string> kCommand = {"/bin/w", "exit", "0"};

std::vector<std::string> operator+(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// A daemon of our own; verbs find it by its run directory, which they get through env(1) as all else of a command.
class Agent {
 public:
  explicit Agent(const fs::path& directory) : environment_{"TARE_RUN_DIR=" + (directory / "run").string()} {
    environment_.push_back("TARE_STATE_DIR=" + (directory / "state").string());
    Child::Options options;
    options.argv = {TARE_BINARY_DIR "/bin/tare", "agent"};
    options.extra_environment = environment_;
    options.die_with_parent = true;
    daemon_.emplace(Child::spawn(options));
    const agent::Client client(directory / "run" / "tare.sock");
    const Deadline deadline = Deadline::in(10s);
    while (!client.answers()) {
      if (deadline.passed()) throw Error(Code::timeout, "the agent did not get ready");
      std::this_thread::sleep_for(10ms);
    }
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;
  ~Agent() {
    daemon_->signal(SIGTERM);
    daemon_->wait(Deadline::in(30s));
  }
  /// Samples of a whole `tare run`.
  std::function<double()> runs(const fs::path& rootfs, const std::string& network) const {
    const std::vector<std::string> command = {
        TARE_BINARY_DIR "/bin/tare", "run", "--cpus", "2", "--memory", "256MiB", "--pids", "100", "--network", network,
        "dir:" + rootfs.string()};
    return perf::sampler(
        [&] { return std::make_unique<perf::Peer>(command + kCommand, perf::Peer::Options{.environment = environment_}); });
  }

 private:
  std::vector<std::string> environment_;
  std::optional<Child> daemon_;
};

void beside_runtimes(perf::Report& report, const Agent& agent, const fs::path& directory, const fs::path& rootfs) {
  const auto of = [](const std::vector<std::string>& command) {
    return perf::sampler([&] { return std::make_unique<perf::Peer>(command, perf::Peer::Options{.quiet = true, .environment = {}}); });
  };
  const auto oci = [&](const std::string& runtime, bool hide_v2) {
    return perf::sampler([&, hide_v2] {
      return std::make_unique<perf::Peer>(perf::oci_command(runtime, directory, rootfs, kCommand),
                                          perf::Peer::Options{.hide_v2 = hide_v2, .environment = {}});
    });
  };
  const std::vector<std::string> bwrap = {"bwrap", "--unshare-all", "--bind", rootfs, "/", "--proc", "/proc", "--dev", "/dev"};
  const std::vector<std::string> nspawn = {"systemd-nspawn", "-q", "-D", rootfs, "--register=no", "--keep-unit"};
  const std::vector<perf::Subject> subjects = {{"tare run", agent.runs(rootfs, "none")},
                                               {"crun run", oci("crun", true)},
                                               {"runc run", oci("runc", false)},
                                               {"bwrap", of(bwrap + kCommand)},
                                               {"systemd-nspawn", of(nspawn + kCommand)}};
  for (const auto& [mode, gap] : {std::pair{"idle", 20ms}, {"hot", 0ms}}) {
    const std::string name = std::string("run.") + mode;
    if (!report.wants(name)) continue;
    const auto samples = perf::interleave(subjects, report.samples(), gap);
    report.ratio(name + ".crun", samples[0], samples[1], 0.5);
    report.ratio(name + ".runc", samples[0], samples[2], 0.5);
    report.ratio(name + ".bwrap", samples[0], samples[3], 2);
    report.ratio(name + ".nspawn", samples[0], samples[4], 0.5);
  }
}

void beside_docker(perf::Report& report, const Agent& agent, const fs::path& directory, const fs::path& rootfs) {
  if (!report.wants("run.docker")) return;
  std::optional<perf::DockerDaemon> docker;
  try {
    docker.emplace(directory / "docker", rootfs);
  } catch (const Error& error) {
    return report.missing("run.docker", error.what());
  }
  for (const std::string network : {"bridge", "none"}) {
    const std::vector<std::string> theirs =
        docker->client({"run", "--rm", "--network", network, "--cpus", "2", "--memory", "256m", "--pids-limit", "100", "peer:1"});
    const std::vector<perf::Subject> subjects = {{"tare run", agent.runs(rootfs, network)},
                                                 {"docker run", perf::sampler([&] {
                                                    return std::make_unique<perf::Peer>(
                                                        theirs + kCommand, perf::Peer::Options{.quiet = true, .environment = {}});
                                                  })}};
    const auto samples = perf::interleave(subjects, std::min(report.samples(), 30), 20ms);
    report.ratio("run.docker." + network, samples[0], samples[1], 0.05);
  }
}

int run(perf::Report& report) {
  if (!report.wants("run.")) return report.finish();
  const TempDir directory;
  const fs::path rootfs = directory.path() / "rootfs";
  for (const char* name : {"bin", "proc", "sys", "dev", "etc", "tmp", "usr"}) fs::create_directories(rootfs / name);
  fs::copy_file(TARE_BINARY_DIR "/libexec/tare/test-workload", rootfs / "bin/w");
  const Agent agent(directory.path());
  beside_runtimes(report, agent, directory.path(), rootfs);
  beside_docker(report, agent, directory.path(), rootfs);
  return report.finish();
}

}  // namespace
}  // namespace tare

int main(int count, char** arguments) { return tare::perf::run_program(count, arguments, "perf_run", tare::run); }
