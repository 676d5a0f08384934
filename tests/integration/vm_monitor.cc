// SPDX-License-Identifier: Apache-2.0
// How many commands libvirt sends to QEMU's monitor for a start: each is a round trip in which QEMU does nothing else, and stock libvirt
// sends 411. Counted in libvirt's own log, which is why this is a program of its own: libvirt reads what to log from the environment, once.
#include <cstdlib>
#include <map>
#include <string_view>

#include "tests/integration/vm_fixture.h"

namespace tare::vm {
namespace {

constexpr int kMostCommands = 15;

/// A start's commands by name, from a log that holds nothing else.
std::map<std::string, int> commands_in(const std::string& log) {
  constexpr std::string_view kSent = "QEMU_MONITOR_SEND_MSG";
  constexpr std::string_view kExecute = "\"execute\":\"";
  std::map<std::string, int> found;
  for (std::size_t at = log.find(kSent); at != std::string::npos; at = log.find(kSent, at + 1)) {
    const std::size_t from = log.find(kExecute, at);
    if (from == std::string::npos) break;
    const std::size_t name = from + kExecute.size();
    ++found[log.substr(name, log.find('"', name) - name)];
  }
  return found;
}

class Monitor : public Vm, public testing::WithParamInterface<VmProfile> {
 protected:
  static fs::path log() { return fs::path(TARE_BINARY_DIR) / "vm-monitor.log"; }
  static void SetUpTestSuite() {
    ::setenv("LIBVIRT_LOG_FILTERS", "1:qemu_monitor", 1);
    ::setenv("LIBVIRT_LOG_OUTPUTS", ("1:file:" + log().string()).c_str(), 1);
  }
  static void TearDownTestSuite() {
    std::error_code ignored;
    fs::remove(log(), ignored);
  }
};

TEST_P(Monitor, HearsNoMoreThanFifteenCommandsForAStart) {
  Workload what = workload({"wait"});
  what.vm_profile = GetParam();
  backend_->prepare(what);
  const std::size_t before = read_file(log()).size();  // what it took to learn of QEMU
  timeline_.mark(Mark::requested);
  const auto instance = backend_->start(what, timeline_);
  std::string text = read_file(log());
  ASSERT_GT(text.size(), before) << "libvirt logged nothing: the count would be one of nothing";
  text.erase(0, before);
  int count = 0;
  std::string list;
  for (const auto& [name, times] : commands_in(text)) {
    count += times;
    list += name + (times > 1 ? " × " + std::to_string(times) : "") + "\n";
  }
  RecordProperty("commands", count);
  EXPECT_GE(count, 3) << "fewer cannot start a guest";
  EXPECT_LE(count, kMostCommands) << list;
}

INSTANTIATE_TEST_SUITE_P(Each, Monitor, testing::Values(VmProfile::standard, VmProfile::minimal, VmProfile::matched, VmProfile::tuned),
                         [](const auto& each) { return std::string(name(each.param)); });

}  // namespace
}  // namespace tare::vm
