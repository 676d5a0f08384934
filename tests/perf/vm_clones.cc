// SPDX-License-Identifier: Apache-2.0
// Guests that do not boot, beside one that does: `requested → ready` of the same workload, a server on a link, on the same accelerator.
// The clones say nothing of how long their template took: that was made before.
#include <memory>

#include "core/error.h"
#include "core/readiness.h"
#include "tests/perf/perf.h"
#include "tests/perf/vm_setup.h"

namespace tare {
namespace {

using namespace std::chrono_literals;

/// One workload, started in one way.
class Server {
 public:
  Server(Backend& backend, const perf::VmSetup& setup, Start start, Bytes size)
      : backend_(backend), workload_(setup.workload({"/bin/w", "serve", "8080"})) {
    workload_.network = Network::link;
    workload_.ports = {8080};
    workload_.ready.kind = Ready::Kind::tcp;
    workload_.ready.port = 8080;
    workload_.limits.memory = size;
    workload_.start = start;
  }
  double sample() {
    backend_.prepare(workload_);
    Timeline timeline;
    timeline.mark(Mark::requested);
    const auto instance = backend_.start(workload_, timeline);
    if (instance->started_as() != workload_.start)
      throw Error(Code::failed, "it was started as " + std::string(name(instance->started_as())));
    await_ready(*instance, workload_.ready, timeline, Deadline::in(30s));
    instance->stop(10s);
    instance->remove();
    removed.push_back(*timeline.seconds(Mark::removed) - *timeline.seconds(Mark::stopping));
    prepared.push_back(timeline.seconds(Mark::prepared).value_or(0));
    launched.push_back(timeline.seconds(Mark::launched).value_or(0));
    return timeline.seconds(Mark::ready).value();
  }
  /// What each of so many that run at the same time has for itself, with its part of what they share.
  double memory_of_each(int count) {
    std::vector<Timeline> timelines(static_cast<std::size_t>(count));
    std::vector<std::unique_ptr<Instance>> instances;
    backend_.prepare(workload_);
    for (Timeline& timeline : timelines) {
      timeline.mark(Mark::requested);
      instances.push_back(backend_.start(workload_, timeline));
      await_ready(*instances.back(), workload_.ready, timeline, Deadline::in(30s));
    }
    double sum = 0;
    for (const auto& instance : instances) sum += static_cast<double>(instance->usage().memory_pss.value_or(Bytes{0}).count);
    return sum / count;
  }
  std::vector<double> removed, prepared, launched;

 private:
  Backend& backend_;
  Workload workload_;
};

int run(perf::Report& report) {
  if (!report.wants("vm.")) return report.finish();
  const perf::VmSetup setup;
  const auto backend = setup.backend(1);
  const Probe probe = backend->probe();
  if (!probe.able) {
    report.missing("vm.restored", probe.reason);
    return report.finish();
  }
  Server cold(*backend, setup, Start::cold, 256_MiB);
  Server restored(*backend, setup, Start::restored, 256_MiB);
  Server large(*backend, setup, Start::restored, 2_GiB);
  Server parked(*backend, setup, Start::parked, 256_MiB);
  const std::vector<perf::Subject> subjects = {{"cold", [&] { return cold.sample(); }},
                                               {"restored", [&] { return restored.sample(); }},
                                               {"restored with 2 GiB", [&] { return large.sample(); }},
                                               {"parked", [&] { return parked.sample(); }}};
  const auto samples = perf::interleave(subjects, report.samples(), 20ms);
  report.ratio("vm.restored.256MiB", samples[1], samples[0], 1.0 / 20);
  report.ratio("vm.restored.2GiB", samples[2], samples[0], 1.0 / 20);
  report.ratio("vm.restored.growth", samples[2], samples[1], 1.15);
  if (samples[3].failure.empty()) {
    report.limit("vm.parked", perf::median(samples[3].values), 0.05, "s");
  } else {
    report.failed("vm.parked", samples[3].failure);
  }
  report.limit("vm.restored.memory", restored.memory_of_each(6), 25e6, "B");
  report.limit("vm.restored.removed", perf::median(restored.removed), 0.05, "s");
  report.limit("vm.cold.removed", perf::median(cold.removed), 0.05, "s");
  report.note("accelerator " + probe.accelerator + "; restored: prepared " + text_of_seconds(perf::median(restored.prepared)) +
              ", launched " + text_of_seconds(perf::median(restored.launched)) + "; parked: launched " +
              text_of_seconds(perf::median(parked.launched)));
  return report.finish();
}

}  // namespace
}  // namespace tare

int main(int count, char** arguments) { return tare::perf::run_program(count, arguments, "perf_vm_clones", tare::run); }
