// SPDX-License-Identifier: Apache-2.0
// What a container costs while it runs and when it ends: from stop() until nothing of it is left, a start while 500 others run, and the
// memory of the kernel and of tare for each that waits, beside what its workload has itself.
#include <csignal>
#include <cstring>

#include "container/cgroup.h"
#include "container/native_backend.h"
#include "core/bridge.h"
#include "core/error.h"
#include "core/process.h"
#include "tests/perf/perf.h"

namespace tare {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr int kMany = 500;

/// What is started and stopped here.
class Containers {
 public:
  explicit Containers(const fs::path& directory) {
    Paths paths;
    paths.state = directory / "state";
    paths.run = directory / "run";
    paths.libexec = TARE_BINARY_DIR "/libexec/tare";
    const fs::path rootfs = directory / "rootfs";
    for (const char* name : {"bin", "proc", "sys", "dev"}) fs::create_directories(rootfs / name);
    fs::copy_file(paths.libexec / "test-workload", rootfs / "bin/w");
    parts_ = {paths, container::Launcher::start_private(paths), container::make_control_groups(), std::make_shared<image::Store>(paths)};
    parts_.keeps_bridge = true;
    backend_ = container::make_backend(container::Native::container, parts_);
    workload_.name = "perf";
    workload_.image = "dir:" + rootfs.string();
    workload_.limits = {2.0, 256_MiB, 100};
  }
  struct Running {
    std::unique_ptr<Timeline> timeline = std::make_unique<Timeline>();
    std::unique_ptr<Instance> instance;
  };
  Running start(Network network, std::vector<std::string> command) {
    workload_.network = network;
    workload_.command = std::move(command);
    backend_->prepare(workload_);
    Running running;
    running.timeline->mark(Mark::requested);
    running.instance = backend_->start(workload_, *running.timeline);
    return running;
  }
  pid_t launcher() const { return parts_.launcher->pid(); }

 private:
  container::NativeParts parts_;
  std::unique_ptr<Backend> backend_;
  Workload workload_;
};

double between(const Timeline& timeline, Mark from, Mark to) {
  const auto start = timeline.at(from);
  const auto end = timeline.at(to);
  if (!start || !end) throw Error(Code::failed, "the marks are not there");
  return std::chrono::duration<double>(*end - *start).count();
}

double stop_time(Containers& containers, Network network) {
  const auto running = containers.start(network, {"/bin/w", "term"});
  std::this_thread::sleep_for(20ms);
  running.instance->stop(10s);
  running.instance->remove();
  return between(*running.timeline, Mark::stopping, Mark::removed);
}

double start_time(Containers& containers) {
  const auto running = containers.start(Network::none, {"/bin/w", "exit", "0"});
  running.instance->wait(Deadline::in(10s));
  running.instance->remove();
  return between(*running.timeline, Mark::requested, Mark::executed);
}

void measure_stop(perf::Report& report, Containers& containers) {
  const std::pair<const char*, Network> networks[] = {{"none", Network::none}, {"link", Network::link}, {"bridge", Network::bridge}};
  std::vector<perf::Subject> subjects;
  for (const auto& [name, network] : networks) {
    subjects.push_back({name, [&containers, network = network] { return stop_time(containers, network); }});
  }
  for (const perf::Samples& samples : perf::interleave(subjects, report.samples(), 20ms)) {
    const std::string name = "container.stop." + samples.name;
    if (samples.values.empty()) {
      report.failed(name, samples.failure);
    } else {
      report.limit(name, perf::median(samples.values), 0.015, "s");
    }
  }
}

std::vector<double> start_times(Containers& containers, int count) {
  std::vector<double> times;
  for (int i = -1; i < count; ++i) {
    std::this_thread::sleep_for(20ms);
    const double time = start_time(containers);
    if (i >= 0) times.push_back(time);
  }
  return times;
}

/// Bytes that are in use on this host, but for what can be given back at once.
double memory_in_use() {
  const std::string text = read_file("/proc/meminfo");
  const auto field = [&](const char* name) { return std::strtod(text.c_str() + text.find(name) + std::strlen(name), nullptr) * 1024; };
  return field("MemTotal:") - field("MemFree:") - field("\nCached:") - field("Buffers:") - field("SReclaimable:");
}

/// The kernel's memory of a process with a file system, but none of tare's surroundings.
double bare_process_memory(const fs::path& program, int count) {
  std::vector<Child> children;
  const double before = memory_in_use();
  for (int i = 0; i < count; ++i) {
    Child::Options options;
    options.argv = {program, "term"};
    options.die_with_parent = true;
    children.push_back(Child::spawn(options));
  }
  std::this_thread::sleep_for(500ms);
  const double each = (memory_in_use() - before) / count;
  for (Child& child : children) child.signal(SIGKILL);
  for (Child& child : children) child.wait(Deadline::in(10s));
  return each;
}

void measure_many(perf::Report& report, Containers& containers, const fs::path& program) {
  const double bare = bare_process_memory(program, kMany);
  perf::Samples none{"0 running", start_times(containers, report.samples()), {}};
  std::vector<Containers::Running> running;
  std::this_thread::sleep_for(500ms);
  const double before = memory_in_use();
  for (int i = 0; i < kMany; ++i) running.push_back(containers.start(Network::none, {"/bin/w", "term"}));
  std::this_thread::sleep_for(500ms);
  const double each = (memory_in_use() - before) / kMany;
  perf::Samples many{"500 running", start_times(containers, report.samples()), {}};
  report.ratio("container.start.with_500", many, none, 1.5);
  report.limit("container.idle_memory", each - bare, 0.6e6, "B");
  report.note("an idle container: " + text_of(Bytes{static_cast<std::uint64_t>(each)}) + " of this host's memory, of which " +
              text_of(Bytes{static_cast<std::uint64_t>(bare)}) + " are what the same process has as a bare one");
}

int run(perf::Report& report) {
  const bool stops = report.wants("container.stop.");
  const bool many = report.wants("container.start.with_500") || report.wants("container.idle_memory");
  if (!stops && !many) return report.finish();
  const TempDir directory;
  const bridge::Keeper bridge({{}, Paths().network_lock(), true});
  Containers containers(directory.path());
  if (stops) measure_stop(report, containers);
  if (many) measure_many(report, containers, directory.path() / "rootfs/bin/w");
  return report.finish();
}

}  // namespace
}  // namespace tare

int main(int count, char** arguments) { return tare::perf::run_program(count, arguments, "perf_running", tare::run); }
