// SPDX-License-Identifier: Apache-2.0
#include "core/beside.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <thread>

#include "core/error.h"

namespace tare {
namespace {

cpu_set_t processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
  return set;
}

TEST(Beside, MayRunWhereItsCallerMay) {
  cpu_set_t its{};
  Beside beside([&] { its = processors(); });
  beside.join();
  const cpu_set_t ours = processors();
  EXPECT_TRUE(CPU_EQUAL(&its, &ours));
}

TEST(Beside, RunsWhereThereIsOneProcessorOnly) {
  bool ran = false;
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    Beside([&] { ran = true; }).join();
  }).join();
  EXPECT_TRUE(ran);
}

TEST(Beside, JoinThrowsWhatTheWorkThrew) {
  Beside beside([] { throw Error(Code::conflict, "the port is taken"); });
  EXPECT_THROW(beside.join(), Error);
}

TEST(Beside, ItsEndIsAwaitedByWhoForgetsIt) {
  std::atomic<bool> ended = false;
  {
    const Beside beside([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ended = true;
    });
  }
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace tare
