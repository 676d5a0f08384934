// SPDX-License-Identifier: Apache-2.0
// How long a container takes to start, beside `runc run` and `crun run` of the same root file system, command and limits.
// Ours is `requested → executed` in the agent; theirs is the whole command, since it has no mark in between: the `.whole` lines compare
// like with like, from the request until nothing is left.
#include "container/cgroup.h"
#include "container/native_backend.h"
#include "core/error.h"
#include "core/process.h"
#include "tests/perf/peer.h"
#include "tests/perf/perf.h"

namespace tare {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

const Limits kLimits = {2.0, 256_MiB, 100};

/// Our side: one start with everything on, and what it took until executed and until removed.
class Ours {
 public:
  Ours(const Paths& paths, const fs::path& rootfs) {
    parts_ = {paths, container::Launcher::start_private(paths), container::make_control_groups(), std::make_shared<image::Store>(paths)};
    container_ = container::make_backend(container::Native::container, parts_);
    workload_.name = "perf";
    workload_.image = "dir:" + rootfs.string();
    workload_.command = {"/bin/w", "exit", "0"};
    workload_.limits = kLimits;
  }
  double start() {
    Timeline timeline;
    timeline.mark(Mark::requested);
    const auto instance = container_->start(workload_, timeline);
    instance->wait(Deadline::in(10s));
    instance->remove();
    if (const auto prepared = timeline.seconds(Mark::prepared)) prepared_.push_back(*prepared);
    if (const auto launched = timeline.seconds(Mark::launched)) launched_.push_back(*launched);
    whole_ = timeline.seconds(Mark::removed).value_or(-1);
    return timeline.seconds(Mark::executed).value_or(-1);
  }
  double whole() {
    start();
    return whole_;
  }
  std::string breakdown() const {
    return "median from requested: prepared " + text_of_seconds(perf::median(prepared_)) + ", launched " +
           text_of_seconds(perf::median(launched_));
  }
  double launcher_memory() const {
    const std::string status = read_file("/proc/" + std::to_string(parts_.launcher->pid()) + "/status");
    return std::strtod(status.c_str() + status.find("VmRSS:") + 6, nullptr) * 1024;
  }

 private:
  container::NativeParts parts_;
  std::unique_ptr<Backend> container_;
  Workload workload_;
  double whole_ = -1;
  std::vector<double> prepared_;
  std::vector<double> launched_;
};

int run(perf::Report& report) {
  if (!report.wants("container.") && !report.wants("launcher.")) return report.finish();
  const TempDir directory;
  Paths paths;
  paths.state = directory.path() / "state";
  paths.run = directory.path() / "run";
  paths.libexec = TARE_BINARY_DIR "/libexec/tare";
  const fs::path rootfs = directory.path() / "rootfs";
  for (const char* name : {"bin", "proc", "sys", "dev"}) fs::create_directories(rootfs / name);
  fs::copy_file(paths.libexec / "test-workload", rootfs / "bin/w");

  const auto peer = [&](const std::string& runtime, bool hide_v2) {
    return perf::sampler([&, hide_v2] {
      const auto command = perf::oci_command(runtime, directory.path(), rootfs, {"/bin/w", "exit", "0"});
      return std::make_unique<perf::Peer>(command, perf::Peer::Options{.hide_v2 = hide_v2, .environment = {}});
    });
  };
  const auto runc = peer("runc", false);
  const auto crun = peer("crun", true);
  Ours ours(paths, rootfs);
  const std::vector<perf::Subject> subjects = {
      {"tare", [&] { return ours.start(); }}, {"tare whole", [&] { return ours.whole(); }}, {"runc", runc}, {"crun", crun}};
  for (const auto& [mode, gap] : {std::pair{"idle", 20ms}, {"hot", 0ms}}) {
    const std::string name = std::string("container.start.") + mode;
    if (!report.wants(name)) continue;
    const auto samples = perf::interleave(subjects, report.samples(), gap);
    report.ratio(name + ".runc", samples[0], samples[2], 0.25);
    report.ratio(name + ".crun", samples[0], samples[3], 0.5);
    report.ratio(name + ".whole.runc", samples[1], samples[2], 1);
    report.ratio(name + ".whole.crun", samples[1], samples[3], 1);
    report.note(std::string(mode) + ": aim 3 ms; p99 " + text_of_seconds(perf::quantile(samples[0].values, 0.99)) + "; " +
                ours.breakdown());
  }
  report.limit("launcher.memory", ours.launcher_memory(), 2 << 20, "B");
  return report.finish();
}

}  // namespace
}  // namespace tare

int main(int count, char** arguments) { return tare::perf::run_program(count, arguments, "perf_container", tare::run); }
