// SPDX-License-Identifier: Apache-2.0
// What libvirt and tare add to a start: `requested → init` of our backend beside the same QEMU command line started by hand, with the same
// kernel, initramfs, disks, accelerator and clock. And what the confinement of QEMU adds to that. A boot takes two seconds where it is
// emulated: -n 20 for a quick look.
#include <thread>

#include "core/error.h"
#include "tests/perf/elsewhere.h"
#include "tests/perf/perf.h"
#include "tests/perf/vm_setup.h"
#include "tests/support/qemu_by_hand.h"
#include "vm/host_clock.h"

namespace tare {
namespace {

using namespace std::chrono_literals;

double resident() {
  const std::string status = read_file("/proc/self/status");
  return std::strtod(status.c_str() + status.find("VmRSS:") + 6, nullptr) * 1024;
}

/// Our backend, whose samples also say how long the rest takes.
class Ours {
 public:
  explicit Ours(const perf::VmSetup& setup) : backend_(setup.backend()), workload_(setup.workload({"/bin/w", "exit", "0"})) {
    backend_->prepare(workload_);
  }
  Probe probe() const { return backend_->probe(); }
  double sample() {
    Timeline timeline;
    timeline.mark(Mark::requested);
    const auto instance = backend_->start(workload_, timeline);
    instance->wait(Deadline::in(30s));
    const Instant from = Instant::now();
    instance->remove();
    removal.push_back(std::chrono::duration<double>(Instant::now() - from).count());
    launched.push_back(timeline.seconds(Mark::launched).value_or(0));
    executed.push_back(timeline.seconds(Mark::executed).value_or(0));
    return timeline.seconds(Mark::init).value();
  }
  std::vector<double> launched, executed, removal;

 private:
  std::unique_ptr<Backend> backend_;
  Workload workload_;
};

vm::VmPlan plan_by_hand(const perf::VmSetup& setup, const Probe& probe) {
  const vm::KernelFiles kernel = vm::find_kernel(setup.paths, setup.settings.kernel);
  const image::Store store(setup.paths);
  vm::VmPlan plan;
  plan.accelerator = probe.accelerator == "kvm" ? vm::Accelerator::kvm : vm::Accelerator::tcg;
  plan.kernel = vm::elf_image(setup.paths, kernel);
  plan.initramfs = vm::initramfs(setup.paths, kernel, vm::Transport::mmio);
  plan.tsc_khz = vm::tsc_khz();
  plan.image.file = store.erofs(store.resolve("dir:" + setup.rootfs.string()));
  plan.image.read_only = true;
  return plan;
}

int run(perf::Report& report) {
  if (!report.wants("vm.")) return report.finish();
  const perf::VmSetup setup;
  perf::VmSetup fast_setup;
  fast_setup.settings.confinement = vm::Confinement::fast;
  perf::Elsewhere fast([&]() -> perf::Elsewhere::Sample {
    const auto ours = std::make_shared<Ours>(fast_setup);
    return [ours] { return ours->sample(); };
  });

  const double before = resident();
  Ours ours(setup);
  const Probe probe = ours.probe();
  if (!probe.able) {
    report.missing("vm.start", probe.reason);
    return report.finish();
  }
  report.note("libvirt's embedded driver: " + text_of(Bytes{static_cast<std::uint64_t>(resident() - before)}) + " resident; accelerator " +
              probe.accelerator);
  const test::QemuByHand by_hand(setup.paths, plan_by_hand(setup, probe));
  const std::vector<perf::Subject> subjects = {
      {"tare", [&] { return ours.sample(); }},
      {"QEMU by hand", [&] {
         const auto boot = by_hand.boot();
         return std::chrono::duration<double>(boot.clock.host(boot.hello.init) - boot.requested).count();
       }}};
  for (const auto& [mode, gap] : {std::pair{"idle", 20ms}, {"hot", 0ms}}) {
    const std::string name = std::string("vm.start.") + mode;
    if (!report.wants(name)) continue;
    const auto samples = perf::interleave(subjects, report.samples(), gap);
    report.ratio(name + ".init", samples[0], samples[1], 1.15);
    if (!samples[0].failure.empty()) report.failed(name + ".added", samples[0].failure);
    if (!samples[1].failure.empty()) report.missing(name + ".added", samples[1].failure);
    if (samples[0].values.size() != samples[1].values.size()) continue;
    std::vector<double> added;
    for (std::size_t i = 0; i < samples[0].values.size(); ++i) added.push_back(samples[0].values[i] - samples[1].values[i]);
    report.limit(name + ".added", perf::median(added), 0.02, "s");
  }
  if (report.wants("vm.start.hardened")) {
    const auto samples =
        perf::interleave({{"hardened", [&] { return ours.sample(); }}, {"fast", [&] { return fast.sample(); }}}, report.samples(), 20ms);
    report.ratio("vm.start.hardened", samples[0], samples[1], 1.05);
  }
  report.note("median from requested: launched " + text_of_seconds(perf::median(ours.launched)) + ", executed " +
              text_of_seconds(perf::median(ours.executed)) + "; removal after the exit " + text_of_seconds(perf::median(ours.removal)));
  return report.finish();
}

}  // namespace
}  // namespace tare

int main(int count, char** arguments) { return tare::perf::run_program(count, arguments, "perf_vm", tare::run); }
