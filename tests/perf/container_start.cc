// SPDX-License-Identifier: Apache-2.0
// How long a container takes to start, beside `runc run` and `crun run` of the same root file system, command and limits.
// Ours is `requested → executed` in the agent; theirs is the whole command, since it has no mark in between: the `.whole` lines compare
// like with like, from the request until nothing is left.
#include <fstream>

#include "container/cgroup.h"
#include "container/devices.h"
#include "container/native_backend.h"
#include "container/native_instance.h"
#include "container/overlay.h"
#include "core/error.h"
#include "core/instance_dir.h"
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
  Ours(const Paths& paths, const fs::path& rootfs, Start start = Start::cold, Userns userns = Userns::host, std::size_t parked = 8) {
    parts_ = {paths, container::Launcher::start_private(paths), container::make_control_groups(), std::make_shared<image::Store>(paths)};
    parts_.parked = parked;
    workload_.start = start;
    container_ = container::make_backend(container::Native::container, parts_);
    workload_.name = "perf";
    workload_.image = "dir:" + rootfs.string();
    workload_.command = {"/bin/w", "exit", "0"};
    workload_.limits = kLimits;
    workload_.userns = userns;
  }
  /// What waits is all there, and nothing is being made; no part of a start.
  void prepare() { container_->prepare(workload_); }
  double start() {
    Timeline timeline;
    timeline.mark(Mark::requested);
    const auto instance = container_->start(workload_, timeline);
    if (instance->started_as() != workload_.start) throw Error(Code::failed, "nothing waited for this start");
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

/// Each step of a cold start by itself, after the same idle gap; in a start the first two run beside the next two.
void time_steps(perf::Report& report, const Paths& paths, const fs::path& rootfs) {
  const auto launcher = container::Launcher::start_private(paths);
  const auto groups = container::make_control_groups();
  const auto devices = container::devices_with({});
  const auto timed = [](const auto& step) {
    const Instant begin = Instant::now();
    [[maybe_unused]] const auto made = step();  // its end is not timed
    return std::chrono::duration<double>(Instant::now() - begin).count();
  };
  const auto root = [&] {
    const TempDir home(paths.state);
    for (const char* name : {"upper", "work", "upper/etc"}) fs::create_directory(home.path() / name);
    return timed([&] { return container::mount_overlay({{rootfs}, home.path(), false, -1}, "perf"); });
  };
  const auto files = [&] {
    const TempDir home(paths.state);
    return timed([&] {
      for (const char* name : {"upper", "work", "upper/etc"}) fs::create_directory(home.path() / name);
      for (const char* name : {"hosts", "hostname", "resolv.conf"}) std::ofstream(home.path() / "upper/etc" / name) << "localhost\n";
      return 0;
    });
  };
  const auto round_trip = [&] {
    return timed([&] {
      try {
        launcher->signal("nobody", 0);
      } catch (const Error&) {  // NOLINT: that is the answer
      }
      return 0;
    });
  };
  const std::vector<perf::Subject> steps = {
      {"control group with limits and device list",
       [&] { return timed([&] { return groups->create(new_instance_id(), kLimits, devices); }); }},
      {"network namespace with loopback", [&] { return timed([&] { return container::new_network_namespace(); }); }},
      {"directories and files of the upper layer", files},
      {"overlay", root},
      {"instance directory with its owner", [&] { return timed([&] { return InstanceDir(paths, new_instance_id()); }); }},
      {"a question to the launcher and its answer", round_trip}};
  for (const perf::Samples& step : perf::interleave(steps, report.samples(), 20ms)) {
    report.note("step " + step.name + ": " + (step.failure.empty() ? text_of_seconds(perf::median(step.values)) : step.failure));
  }
}

/// The named variants beside a cold start: the same container, of which less is made after the request.
void compare_variants(perf::Report& report, const Paths& paths, const fs::path& rootfs) {
  Ours cold(paths, rootfs);
  Ours pooled(paths, rootfs, Start::pooled);
  Ours zygote(paths, rootfs, Start::zygote);
  for (const auto& [mode, gap] : {std::pair{"idle", 20ms}, {"hot", 0ms}}) {
    const auto after = [wait = gap](Ours& variant) {
      return [&variant, wait] {
        variant.prepare();
        std::this_thread::sleep_for(wait);
        return variant.start();
      };
    };
    const std::string end = std::string(".") + mode;
    const auto samples =
        perf::interleave({{"cold", after(cold)}, {"pooled", after(pooled)}, {"zygote", after(zygote)}}, report.samples(), 0ms);
    report.limit("container.start.pooled" + end, perf::median(samples[1].values), 1.3e-3, "s");
    report.ratio("container.start.pooled" + end + ".cold", samples[1], samples[0], 0.6);
    report.limit("container.start.zygote" + end, perf::median(samples[2].values), 0.5e-3, "s");
    report.ratio("container.start.zygote" + end + ".cold", samples[2], samples[0], 0.25);
    for (const perf::Samples& one : samples)
      report.note(std::string(mode) + ", " + one.name + ": p99 " + text_of_seconds(perf::quantile(one.values, 0.99)));
  }
  report.note("cold, " + cold.breakdown() + "; pooled, " + pooled.breakdown() + "; zygote, " + zygote.breakdown());
}

/// What one of those that wait has in its control group, its page tables and kernel stacks included, and how long it takes to make.
void weigh_parked(perf::Report& report, const Paths& paths, const fs::path& rootfs) {
  constexpr std::size_t kMany = 32;
  const auto groups = container::make_control_groups();
  for (const Start start : {Start::pooled, Start::zygote}) {
    Ours variant(paths, rootfs, start, Userns::host, kMany);
    const Instant begin = Instant::now();
    variant.prepare();
    const double seconds = std::chrono::duration<double>(Instant::now() - begin).count();
    std::vector<double> memory;
    for (const auto& entry : fs::directory_iterator(paths.instances())) {
      const auto group = groups->adopt(entry.path().filename(), {});
      memory.push_back(static_cast<double>(group->usage().memory.value_or(Bytes{0}).count));
      group->leave();
    }
    const std::string name = "container.parked." + std::string(tare::name(start));
    report.limit(name + ".memory", perf::median(memory), 600'000, "B");
    report.note(name + ": " + text_of_seconds(seconds / kMany) + " to make one");
  }
}

int run(perf::Report& report) {
  if (!report.wants("container.") && !report.wants("launcher.")) return report.finish();
  const TempDir directory;
  Paths paths;
  paths.state = directory.path() / "state";
  fs::create_directory(paths.state);
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
  Ours mapped(paths, rootfs, Start::cold, Userns::automatic);
  const std::vector<perf::Subject> subjects = {{"tare", [&] { return ours.start(); }},
                                               {"tare whole", [&] { return ours.whole(); }},
                                               {"runc", runc},
                                               {"crun", crun},
                                               {"tare userns", [&] { return mapped.start(); }}};
  for (const auto& [mode, gap] : {std::pair{"idle", 20ms}, {"hot", 0ms}}) {
    const std::string name = std::string("container.start.") + mode;
    if (!report.wants(name)) continue;
    const auto samples = perf::interleave(subjects, report.samples(), gap);
    // Back to back the peers' cgroup attaches do not wait for a grace period of the kernel's, and ours never does: less is to be gained.
    const bool idle = gap > 0ms;
    report.ratio(name + ".runc", samples[0], samples[2], idle ? 1.0 / 12 : 0.25);
    report.ratio(name + ".crun", samples[0], samples[3], idle ? 1.0 / 6 : 0.5);
    if (idle && !samples[0].values.empty()) {
      const double median = perf::median(samples[0].values);
      report.limit(name, median, 0.003, "s");
      report.limit(name + ".p99", perf::quantile(samples[0].values, 0.99), 2 * median, "s");
    }
    report.ratio(name + ".whole.runc", samples[1], samples[2], 1);
    report.ratio(name + ".whole.crun", samples[1], samples[3], 1);
    report.note(std::string(mode) + ": p99 " + text_of_seconds(perf::quantile(samples[0].values, 0.99)) + "; " + ours.breakdown());
    report.note(std::string(mode) + ", userns: auto: " + text_of_seconds(perf::median(samples[4].values)) + " beside " +
                text_of_seconds(perf::median(samples[0].values)) + "; " + mapped.breakdown());
  }
  if (report.wants("container.start.pooled") || report.wants("container.start.zygote")) compare_variants(report, paths, rootfs);
  if (report.wants("container.steps")) time_steps(report, paths, rootfs);
  if (report.wants("container.parked.")) weigh_parked(report, paths, rootfs);
  report.limit("launcher.memory", ours.launcher_memory(), 2 << 20, "B");
  return report.finish();
}

}  // namespace
}  // namespace tare

int main(int count, char** arguments) { return tare::perf::run_program(count, arguments, "perf_container", tare::run); }
