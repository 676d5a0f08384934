// SPDX-License-Identifier: Apache-2.0
// Exits by reason, from what QEMU answers.
#include "vm/exits.h"

#include <gtest/gtest.h>

namespace tare::vm {
namespace {

std::string cpu(const std::string& stats) {
  return R"({"provider":"kvm","qom-path":"/machine/unattached/device[0]","stats":[)" + stats + "]}";
}
std::string answer(const std::string& cpus) { return R"({"return":[)" + cpus + R"(],"id":"libvirt-9"})"; }
using Exits = std::map<std::string, std::uint64_t>;

TEST(Exits, OfAllVirtualCpusAreTogetherAndTheRestIsOther) {
  const std::string first = cpu(
      R"({"name":"exits","value":100},{"name":"io_exits","value":20},{"name":"halt_exits","value":7},{"name":"signal_exits","value":3},)"
      R"({"name":"halt_poll_success_hist","value":[0,1,2]},{"name":"guest_mode","value":true})");
  const std::string second = cpu(R"({"name":"exits","value":50},{"name":"io_exits","value":5},{"name":"irq_exits","value":40})");
  EXPECT_EQ(exits_of(answer(first + "," + second)), (Exits{{"io", 25}, {"halt", 7}, {"interrupt", 40}, {"other", 78}}));
}

TEST(Exits, AReasonCountedMoreOftenThanAllLeavesNoOther) {
  EXPECT_EQ(exits_of(answer(cpu(R"({"name":"exits","value":1},{"name":"mmio_exits","value":2})"))), (Exits{{"mmio", 2}}));
}

TEST(Exits, WithoutKvmThereAreNone) {
  EXPECT_EQ(exits_of(answer("")), Exits());
  EXPECT_EQ(exits_of(R"({"return":{}})"), Exits());
  EXPECT_EQ(exits_of("nonsense"), Exits());
  EXPECT_EQ(exits_of(answer(cpu(R"({"name":"pf_taken","value":1})"))), Exits());
}

}  // namespace
}  // namespace tare::vm
