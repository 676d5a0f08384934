// SPDX-License-Identifier: Apache-2.0
// How long a container takes to start, beside `runc run` and `crun run` of the same root file system, command and limits.
// Ours is `requested → executed` in the agent; theirs is the whole command, since it has no mark in between: the `.whole` lines compare
// like with like, from the request until nothing is left.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/cgroup.h"
#include "container/native_backend.h"
#include "core/error.h"
#include "core/process.h"
#include "tests/perf/perf.h"

namespace tare {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr Limits kLimits = {2.0, 256_MiB, 100};

/// The bundle of an OCI runtime: our root file system, command and limits; namespaces, mounts and capabilities as `runc spec` gives them.
fs::path make_bundle(const fs::path& parent, const fs::path& rootfs, const std::string& name) {
  const fs::path bundle = parent / name;
  fs::create_directories(bundle);
  check_tool({"runc", "spec", "--bundle", bundle}, Deadline::in(10s));
  std::string spec = read_file(bundle / "config.json");
  const auto replace = [&](const std::string& from, const std::string& to) {
    const auto at = spec.find(from);
    if (at == std::string::npos) throw Error(Code::failed, "runc spec gives no " + from);
    spec.replace(at, from.size(), to);
  };
  replace("\"terminal\": true", "\"terminal\": false");
  replace("\"sh\"", "\"/bin/w\", \"exit\", \"0\"");
  replace("\"path\": \"rootfs\"", "\"path\": \"" + rootfs.string() + "\"");
  replace("\"resources\": {", "\"cgroupsPath\": \"/tare/peer-" + name +
                                  "\",\n\"resources\": {\"memory\": {\"limit\": 268435456}, "
                                  "\"cpu\": {\"quota\": 200000, \"period\": 100000}, \"pids\": {\"limit\": 100},");
  write_file_atomic(bundle / "config.json", spec);
  return bundle;
}

/// A small process of its own that runs the peer's command when asked and tells how long it took: no fork of a large process, and
/// crun can be given a mount namespace without the v2 tree, which it refuses on the hybrid layout.
class Peer {
 public:
  Peer(std::vector<std::string> command, bool hide_v2) {
    int ask[2];
    int answer[2];
    if (::pipe2(ask, O_CLOEXEC) != 0 || ::pipe2(answer, O_CLOEXEC) != 0) throw_errno("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ask[1]);
      serve(command, hide_v2, ask[0], answer[1]);
    }
    ::close(ask[0]);
    ::close(answer[1]);
    ask_ = Fd(ask[1]);
    answer_ = Fd(answer[0]);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    ask_.reset();
    ::waitpid(pid_, nullptr, 0);
  }
  double sample() {
    double seconds = -1;
    write_all(ask_.get(), "x", "peer");
    if (::read(answer_.get(), &seconds, sizeof seconds) != sizeof seconds || seconds < 0) throw Error(Code::failed, "its command failed");
    return seconds;
  }

 private:
  [[noreturn]] static void serve(const std::vector<std::string>& command, bool hide_v2, int ask, int answer) {
    if (hide_v2) {
      ::unshare(CLONE_NEWNS);
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
      ::umount2("/sys/fs/cgroup/unified", MNT_DETACH);
    }
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));  // NOLINT: execve's type
    arguments.push_back(nullptr);
    char byte;
    while (::read(ask, &byte, 1) == 1) {
      const Instant from = Instant::now();
      const pid_t child = ::vfork();
      if (child == 0) {
        ::execvp(arguments[0], arguments.data());
        ::_exit(127);
      }
      int status = 0;
      ::waitpid(child, &status, 0);
      const double seconds = status == 0 ? std::chrono::duration<double>(Instant::now() - from).count() : -1;
      if (::write(answer, &seconds, sizeof seconds) != sizeof seconds) break;
    }
    ::_exit(0);
  }
  pid_t pid_ = -1;
  Fd ask_;
  Fd answer_;
};

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

  const auto command = [&](const std::string& runtime) -> std::vector<std::string> {
    return {runtime,
            "--root",
            directory.path() / (runtime + "-state"),
            "run",
            "--bundle",
            make_bundle(directory.path(), rootfs, runtime),
            "tare-perf-" + runtime};
  };
  const auto peer = [&](const std::string& runtime, bool hide_v2) -> std::function<double()> {
    try {
      return [runs = std::make_shared<Peer>(command(runtime), hide_v2)] { return runs->sample(); };
    } catch (const Error& error) {  // not installed: ours are measured all the same
      return [why = error.sentence()]() -> double { throw Error(Code::unavailable, why); };
    }
  };
  const auto runc = peer("runc", false);  // in this order, which is undone backwards: the second inherits the first one's pipes
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

int main(int count, char** arguments) {
  tare::perf::Report report(count, arguments);
  try {
    return tare::run(report);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "perf_container: %s\n", error.what());
    return 1;
  }
}
