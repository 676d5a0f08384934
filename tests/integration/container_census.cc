// SPDX-License-Identifier: Apache-2.0
// Many instances at once leave nothing behind.
#include <algorithm>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "core/link_removal.h"
#include "core/netlink.h"
#include "core/nft.h"
#include "tests/integration/container_fixture.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;

/// Everything of which a native instance makes one, counted; others on this host may make and remove tare groups meanwhile, so only ours
/// are: by id.
std::map<std::string, std::size_t> census(const NativeFixture& host, const std::vector<std::string>& ids) {
  std::map<std::string, std::size_t> count;
  rtnl::await_removals();
  const std::string mounts = read_file("/proc/self/mounts");
  count["mounts"] = static_cast<std::size_t>(std::count(mounts.begin(), mounts.end(), '\n'));
  const auto groups = host.parts.groups->ids();
  for (const std::string& id : ids) {
    count["groups"] += std::find(groups.begin(), groups.end(), id) != groups.end();
    count["interfaces"] += std::filesystem::exists("/sys/class/net/" + netlink::interface_name(id, 'h'));
  }
  std::error_code missing;
  for (std::filesystem::directory_iterator entry(host.paths.instances(), missing), end; !missing && entry != end; ++entry)
    ++count["directories"];
  for (std::filesystem::directory_iterator fd("/proc/self/fd"), end; fd != end; ++fd) ++count["descriptors"];
  std::ifstream children("/proc/" + std::to_string(host.parts.launcher->pid()) + "/task/" + std::to_string(host.parts.launcher->pid()) +
                         "/children");
  for (int pid = 0; children >> pid;) ++count["processes"];
  return count;
}

TEST(NativeCensus, FiveHundredStartsAndStopsInParallelLeaveNothing) {
  NativeFixture host;
  const auto metal = make_backend(Native::metal, host.parts);
  const auto container = make_backend(Native::container, host.parts);
  {
    Timeline warm;
    Workload once = host.workload({"exit", "0"});
    once.network = nft::is_available() ? Network::bridge : Network::link;  // the connection to the packet filter stays
    container->start(once, warm)->remove();
  }
  const auto before = census(host, {});
  const Network third = nft::is_available() ? Network::bridge : Network::link;  // the guest of cgroup_layouts has no bridge

  constexpr int kThreads = 20;
  constexpr int kEach = 25;
  std::mutex mutex;
  std::vector<std::string> ids;
  std::vector<std::string> failures;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        try {
          Workload workload = host.workload({i % 3 == 0 ? "pause" : i % 3 == 1 ? "tree" : "exit", "0"});
          workload.network = i % 4 == 0 ? Network::link : i % 4 == 1 ? third : Network::none;
          workload.limits = {1.0, 64_MiB, 50};
          Timeline timeline;
          const auto instance = ((t + i) % 2 == 0 ? metal : container)->start(workload, timeline);
          instance->stop(10ms);
          instance->remove();
          const std::lock_guard lock(mutex);
          ids.push_back(instance->id());
        } catch (const std::exception& error) {
          const std::lock_guard lock(mutex);
          failures.emplace_back(error.what());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_THAT(failures, ::testing::IsEmpty());
  EXPECT_EQ(ids.size(), std::size_t{kThreads * kEach});
  auto after = census(host, ids);
  EXPECT_EQ(after["groups"], 0U);
  EXPECT_EQ(after["interfaces"], 0U);
  after.erase("groups");
  after.erase("interfaces");
  EXPECT_EQ(after, before);
}

TEST(NativeCensus, DestructionLeavesNoTraceOfARunningInstance) {
  NativeFixture host;
  std::string id;
  {
    Timeline timeline;
    Workload workload = host.workload({"tree"});
    workload.network = Network::link;
    const auto instance = make_backend(Native::container, host.parts)->start(workload, timeline);
    id = instance->id();
    EXPECT_EQ(census(host, {id})["groups"], 1U);
    EXPECT_EQ(census(host, {id})["interfaces"], 1U);
  }
  auto after = census(host, {id});
  EXPECT_EQ(after["groups"] + after["interfaces"] + after["directories"] + after["processes"], 0U);
}

}  // namespace
}  // namespace tare::container
