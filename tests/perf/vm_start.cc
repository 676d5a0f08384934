// SPDX-License-Identifier: Apache-2.0
// What libvirt and tare add to a start: `requested → init` of our backend beside the same QEMU command line started by hand, with the same
// kernel, initramfs, disks, accelerator and clock. A boot takes two seconds where it is emulated: -n 20 for a
// quick look.
#include <condition_variable>
#include <mutex>
#include <thread>

#include "container/cgroup.h"
#include "core/error.h"
#include "core/process.h"
#include "tests/perf/perf.h"
#include "vm/channel.h"
#include "vm/guest_kernel.h"
#include "vm/host_clock.h"
#include "vm/scratch_disk.h"
#include "vm/vm_backend.h"

namespace tare {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

double resident() {
  const std::string status = read_file("/proc/self/status");
  return std::strtod(status.c_str() + status.find("VmRSS:") + 6, nullptr) * 1024;
}

/// QEMU by hand, up to the guest's first message and the ping-pong that maps its clock.
class ByHand {
 public:
  ByHand(const Paths& paths, vm::VmPlan plan) : paths_(paths), plan_(std::move(plan)) {}

  double sample() {
    const TempDir directory(paths_.state);
    plan_.scratch.file = directory.path() / "disk.img";
    plan_.channel = directory.path() / "channel";
    plan_.console = directory.path() / "console";
    hello_.reset();
    clock_ = {};
    ended_ = false;
    const Instant requested = Instant::now();
    vm::copy_sparse(vm::scratch_template(paths_), plan_.scratch.file);
    Child::Options options;
    options.argv = arguments();
    Child qemu = Child::spawn(options);
    const auto channel = connect(qemu);
    channel->listen();
    await([&] { return hello_.has_value(); });
    for (int i = 1; i <= 5; ++i) exchange(*channel, i);
    const std::lock_guard lock(mutex_);
    return std::chrono::duration<double>(clock_.host(hello_->init) - requested).count();
  }

 private:
  std::vector<std::string> arguments() const {
    const auto drive = [](const char* id, const vm::Disk& disk) {
      return "file=" + disk.file.string() + ",format=raw,if=none,cache=" + disk.cache + ",id=" + id +
             (disk.read_only ? ",readonly=on" : "");
    };
    return {plan_.emulator.string(),
            "-machine",
            "microvm,usb=off,acpi=on,accel=" + std::string(name(plan_.accelerator)),
            "-m",
            std::to_string(plan_.memory.count >> 20),
            "-smp",
            std::to_string(plan_.vcpus),
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-sandbox",
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "-kernel",
            plan_.kernel.string(),
            "-initrd",
            plan_.initramfs.string(),
            "-append",
            vm::command_line(plan_),
            "-device",
            "virtio-serial-device",
            "-chardev",
            "socket,id=c,server=on,wait=off,path=" + plan_.channel.string(),
            "-device",
            "virtserialport,chardev=c,name=tare.0,nr=1",
            "-drive",
            drive("a", plan_.image),
            "-device",
            "virtio-blk-device,drive=a",
            "-drive",
            drive("b", plan_.scratch),
            "-device",
            "virtio-blk-device,drive=b",
            "-serial",
            "file:" + plan_.console.string()};
  }

  std::unique_ptr<vm::Channel> connect(Child& qemu) {
    const vm::Channel::Callbacks callbacks{[this](const guest::Frame& frame, Instant arrived) { on_frame(frame, arrived); },
                                           [this](const std::string&) {
                                             const std::lock_guard lock(mutex_);
                                             ended_ = true;
                                             changed_.notify_all();
                                           }};
    for (const Deadline deadline = Deadline::in(10s);;) {
      try {
        return std::make_unique<vm::Channel>(plan_.channel.string(), callbacks);
      } catch (const Error&) {
        if (deadline.passed() || qemu.wait(Deadline::in(1ms))) throw;
      }
    }
  }

  void on_frame(const guest::Frame& frame, Instant arrived) {
    const std::lock_guard lock(mutex_);
    if (frame.type == guest::Type::hello) hello_ = guest::decode<guest::Hello>(frame.payload);
    if (frame.type == guest::Type::pong) clock_.add(sent_, guest::decode<guest::Pong>(frame.payload).value().at, arrived);
    changed_.notify_all();
  }

  template <class Ready>
  void await(Ready ready) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 30s, [&] { return ended_ || ready(); }) || ended_) {
      throw Error(Code::failed, "QEMU by hand did not reach its init: " + try_read_file(plan_.console).value_or("no console"));
    }
  }

  void exchange(vm::Channel& channel, int number) {
    {
      const std::lock_guard lock(mutex_);
      sent_ = Instant::now();
    }
    guest::Ping ping;
    ping.id = static_cast<std::uint64_t>(number);
    channel.send(ping);
    await([&] { return clock_.exchanges() >= number; });
  }

  Paths paths_;
  vm::VmPlan plan_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<guest::Hello> hello_;
  vm::ClockMap clock_;
  Instant sent_;
  bool ended_ = false;
};

/// Our backend, whose samples also say how long the rest takes.
class Ours {
 public:
  Ours(const Paths& paths, const vm::VmSettings& settings, const fs::path& rootfs)
      : backend_(vm::make_backend({paths, container::make_control_groups(), std::make_shared<image::Store>(paths), settings})) {
    workload_.name = "perf";
    workload_.image = "dir:" + rootfs.string();
    workload_.command = {"/bin/w", "exit", "0"};
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

vm::VmPlan plan_by_hand(const Paths& paths, const vm::VmSettings& settings, const fs::path& rootfs, const Probe& probe) {
  const vm::KernelFiles kernel = vm::find_kernel(paths, settings.kernel);
  const image::Store store(paths);
  vm::VmPlan plan;
  plan.accelerator = probe.accelerator == "kvm" ? vm::Accelerator::kvm : vm::Accelerator::tcg;
  plan.kernel = vm::elf_image(paths, kernel);
  plan.initramfs = vm::initramfs(paths, kernel, vm::Transport::mmio, false);
  plan.tsc_khz = vm::tsc_khz();
  plan.image.file = store.erofs(store.resolve("dir:" + rootfs.string()));
  plan.image.read_only = true;
  return plan;
}

int run(perf::Report& report) {
  if (!report.wants("vm.")) return report.finish();
  Paths paths;
  paths.state = TARE_BINARY_DIR "/vm-state";  // kept: the accelerator's verdict and libvirt's cache take longer to make than a start
  paths.run = paths.state / "run";
  paths.libexec = TARE_BINARY_DIR "/libexec/tare";
  fs::create_directories(paths.run);
  const TempDir directory(paths.state);
  const fs::path rootfs = directory.path() / "rootfs";
  fs::create_directories(rootfs / "bin");
  fs::copy_file(paths.libexec / "test-workload", rootfs / "bin/w");
  vm::VmSettings settings;
  settings.kernel = vm::find_kernel(Paths::from_environment(), {}).vmlinuz.parent_path();

  const double before = resident();
  Ours ours(paths, settings, rootfs);
  const Probe probe = ours.probe();
  if (!probe.able) {
    report.missing("vm.start", probe.reason);
    return report.finish();
  }
  report.note("libvirt's embedded driver: " + text_of(Bytes{static_cast<std::uint64_t>(resident() - before)}) + " resident; accelerator " +
              probe.accelerator);
  ByHand by_hand(paths, plan_by_hand(paths, settings, rootfs, probe));
  const std::vector<perf::Subject> subjects = {{"tare", [&] { return ours.sample(); }}, {"QEMU by hand", [&] { return by_hand.sample(); }}};
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
    report.limit(name + ".added", perf::median(added), 0.08, "s");
  }
  report.note("median from requested: launched " + text_of_seconds(perf::median(ours.launched)) + ", executed " +
              text_of_seconds(perf::median(ours.executed)) + "; removal after the exit " + text_of_seconds(perf::median(ours.removal)));
  return report.finish();
}

}  // namespace
}  // namespace tare

int main(int count, char** arguments) { return tare::perf::run_program(count, arguments, "perf_vm", tare::run); }
