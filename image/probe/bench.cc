// SPDX-License-Identifier: Apache-2.0
// `probe bench`: which benchmarks there are, how they are run, and the form of their output.
#include "image/probe/bench.h"

#include <sched.h>
#include <sys/vfs.h>

#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>

#include "image/probe/commands.h"

namespace probe {

std::string bench_directory = "/var/tmp";  // on the root filesystem; /tmp is a tmpfs on many hosts

struct OneCpu::Set {
  cpu_set_t cpus;
};

OneCpu::OneCpu() : before_(new Set) {
  cpu_set_t one;
  CPU_ZERO(&one);
  const int cpu = ::sched_getcpu();
  if (cpu < 0 || ::sched_getaffinity(0, sizeof before_->cpus, &before_->cpus) != 0) return;
  CPU_SET(static_cast<unsigned>(cpu), &one);
  pinned_ = ::sched_setaffinity(0, sizeof one, &one) == 0;
}

OneCpu::~OneCpu() {
  if (pinned_) ::sched_setaffinity(0, sizeof before_->cpus, &before_->cpus);
  delete before_;
}

void fail(benchmark::State& state, const std::string& what, int error) {
  state.SkipWithError((what + ": " + std::strerror(error)).c_str());  // NOLINT(concurrency-mt-unsafe)
}

namespace {

/// Google Benchmark's own JSON. Its suffix "/real_time" is left out of the names, which are keys of results.
class Reporter : public benchmark::JSONReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> named = runs;
    for (Run& run : named) {
      failed_ = failed_ || run.error_occurred;
      if (run.error_occurred) std::cerr << "probe: bench: " << run.run_name.function_name << ": " << run.error_message << '\n';
      run.run_name.time_type.clear();
    }
    JSONReporter::ReportRuns(named);
  }
  bool failed() const { return failed_; }

 private:
  bool failed_ = false;
};

template <class Body>
void add(const char* name, Body body) {
  // Wall time: what a caller waits for. CPU time would leave out what a hypervisor or another process does meanwhile.
  benchmark::RegisterBenchmark(name, body)->UseRealTime();
}

void add_all() {
  add("int_arithmetic", int_arithmetic);
  add("float_arithmetic", float_arithmetic);
  add("memory_triad", memory_triad);
  add("pointer_chase", pointer_chase);
  add("syscall", syscall_cost);
  add("context_switch", context_switch);
  add("page_fault", page_fault);
  add("thread_create", thread_create);
  const auto sized = [](void (*body)(benchmark::State&, std::size_t), std::size_t block) {
    return [body, block](benchmark::State& state) { body(state, block); };
  };
  add("file_read_4k", sized(file_read, 4U << 10));
  add("file_write_4k", sized(file_write, 4U << 10));
  add("file_read_1m", sized(file_read, 1U << 20));
  add("file_write_1m", sized(file_write, 1U << 20));
  add("loopback_round_trip", loopback_round_trip);
}

bool parse_seconds(std::string_view text, double& seconds) {
  char* end = nullptr;
  const std::string copy(text);
  seconds = std::strtod(copy.c_str(), &end);
  return end != copy.c_str() && *end == '\0' && seconds > 0 && seconds <= 60;
}

/// The file system that file_* measure, by the magic number of statfs(2): equal numbers on two backends mean the same kind.
void describe_filesystem() {
  struct statfs status {};
  if (::statfs(bench_directory.c_str(), &status) != 0) return;
  char text[32];
  std::snprintf(text, sizeof text, "0x%lx", static_cast<unsigned long>(status.f_type));
  benchmark::AddCustomContext("filesystem", text);
}

}  // namespace

int bench(const Arguments& arguments) {
  double min_time = 0.1;
  std::string filter = ".";
  for (const std::string_view argument : arguments) {
    std::string_view value;
    if (option(argument, "filter", value)) {
      filter = value;
    } else if (option(argument, "directory", value)) {
      bench_directory = value;
    } else if (!option(argument, "min-time", value) || !parse_seconds(value, min_time)) {
      return wrong_use("bench does not understand '" + std::string(argument) + "'");
    }
  }
  add_all();
  describe_filesystem();
  benchmark::AddCustomContext("probe_version", TARE_VERSION);
  std::string name = "probe";
  std::string min_time_flag = "--benchmark_min_time=" + std::to_string(min_time);
  char* flags[] = {name.data(), min_time_flag.data(), nullptr};
  int count = 2;
  benchmark::Initialize(&count, flags);
  Reporter reporter;
  const std::size_t run = benchmark::RunSpecifiedBenchmarks(&reporter, filter);
  if (run == 0) {
    std::fprintf(stderr, "probe: bench: no benchmark matches '%s'\n", filter.c_str());
    return 1;
  }
  return reporter.failed() ? 1 : 0;
}

}  // namespace probe
