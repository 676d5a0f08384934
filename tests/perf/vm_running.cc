// SPDX-License-Identifier: Apache-2.0
// What a virtual machine costs while it idles and how long it takes to go: the memory of QEMU beyond its guest's RAM, what one more idle
// guest takes, and `stopping → removed`.
#include "core/error.h"
#include "tests/perf/perf.h"
#include "tests/perf/vm_setup.h"

namespace tare {
namespace {

using namespace std::chrono_literals;

constexpr int kStops = 10;
constexpr int kGuests = 20;
constexpr double kMebibyte = 1 << 20;

struct Memory {
  double ram = 0;   // PSS of the mapping that is the guest's RAM
  double rest = 0;  // of all others
};

// A mapping's lines in /proc/<pid>/smaps begin with its addresses; the guest's RAM is the one of exactly its size.
Memory memory_of(const std::string& id, Bytes guest) {
  const int pid = test::emulator_of(id);
  if (pid < 0) throw Error(Code::failed, "no QEMU of " + id);
  const std::string maps = read_file("/proc/" + std::to_string(pid) + "/smaps");
  const std::string size = std::to_string(guest.count >> 10);
  Memory memory;
  bool ram = false;
  for (std::size_t at = 0; at < maps.size();) {
    const std::size_t end = std::min(maps.find('\n', at), maps.size());
    const std::string line = maps.substr(at, end - at);
    at = end + 1;
    const auto kib = [&] { return std::strtod(line.c_str() + line.find(':') + 1, nullptr); };
    if (line.starts_with("Size:")) ram = kib() == static_cast<double>(guest.count >> 10);
    if (line.starts_with("Pss:")) (ram ? memory.ram : memory.rest) += kib() * 1024;
  }
  if (memory.ram == 0) throw Error(Code::failed, "no mapping of " + size + " KiB in QEMU " + std::to_string(pid));
  return memory;
}

double available() {
  const std::string text = read_file("/proc/meminfo");
  return std::strtod(text.c_str() + text.find("MemAvailable:") + 13, nullptr) * 1024;
}

class Guests {
 public:
  explicit Guests(const perf::VmSetup& setup) : backend_(setup.backend()), workload_(setup.workload({"/bin/w", "pause"})) {
    backend_->prepare(workload_);
  }
  Probe probe() const { return backend_->probe(); }
  std::unique_ptr<Instance> start(Timeline& timeline) {
    timeline.mark(Mark::requested);
    return backend_->start(workload_, timeline);
  }

 private:
  std::unique_ptr<Backend> backend_;
  Workload workload_;
};

void stops(perf::Report& report, Guests& guests) {
  std::vector<double> seconds;
  for (int i = 0; i < std::min(report.samples(), kStops); ++i) {
    Timeline timeline;
    const auto instance = guests.start(timeline);
    std::this_thread::sleep_for(100ms);
    instance->stop(10s);
    instance->remove();
    seconds.push_back(std::chrono::duration<double>(*timeline.at(Mark::removed) - *timeline.at(Mark::stopping)).count());
  }
  report.limit("vm.stop.removed", perf::median(seconds), 0.05, "s");
}

// Least squares of what the host has left over the number of guests.
double slope(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double x = 0, y = 0, xy = 0, xx = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<double>(i);
    x += at, y += values[i], xy += at * values[i], xx += at * at;
  }
  return (n * xy - x * y) / (n * xx - x * x);
}

void memory(perf::Report& report, Guests& guests) {
  const int most = std::clamp(report.samples(), 2, kGuests);
  std::vector<std::unique_ptr<Timeline>> timelines;
  std::vector<std::unique_ptr<Instance>> all;
  std::vector<double> used, rest, ram;
  const double before = available();
  used.push_back(0);
  for (int i = 0; i < most; ++i) {
    timelines.push_back(std::make_unique<Timeline>());
    all.push_back(guests.start(*timelines.back()));
    std::this_thread::sleep_for(200ms);
    used.push_back(before - available());
  }
  for (const auto& instance : all) {
    const Memory memory = memory_of(instance->id(), vm::kDefaultMemory);
    rest.push_back(memory.rest);
    ram.push_back(memory.ram);
  }
  report.limit("vm.memory.beyond_ram", perf::median(rest), 35 * kMebibyte, "B");
  report.note(std::to_string(most) + " idle guests: " + text_of(Bytes{static_cast<std::uint64_t>(perf::median(ram))}) +
              " of each one's RAM touched, " + text_of(Bytes{static_cast<std::uint64_t>(perf::median(rest))}) +
              " PSS of QEMU beside it; one more guest takes " + text_of(Bytes{static_cast<std::uint64_t>(slope(used))}) +
              " of the host's memory");
}

int run(perf::Report& report) {
  if (!report.wants("vm.stop") && !report.wants("vm.memory")) return report.finish();
  const perf::VmSetup setup;
  Guests guests(setup);
  if (const Probe probe = guests.probe(); !probe.able) {
    report.missing("vm.stop.removed", probe.reason);
    report.missing("vm.memory.beyond_ram", probe.reason);
    return report.finish();
  }
  if (report.wants("vm.stop")) stops(report, guests);
  if (report.wants("vm.memory")) memory(report, guests);
  return report.finish();
}

}  // namespace
}  // namespace tare

int main(int count, char** arguments) { return tare::perf::run_program(count, arguments, "perf_vm_running", tare::run); }
