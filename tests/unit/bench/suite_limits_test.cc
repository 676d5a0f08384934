// SPDX-License-Identifier: Apache-2.0
// `limits:` of a suite, right and wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/suite.h"
#include "core/error.h"

namespace tare::bench {
namespace {

using testing::HasSubstr;

Limits limits_in(const std::string& text) {
  return load_suite("name: a\nworkloads: {w: {image: i, ready: exit, limits: " + text +
                        "}}\nexperiments: [{name: e, measure: start, workload: w}]\n",
                    "l.yaml")
      .workloads.at("w")
      .limits;
}

TEST(SuiteLimits, EveryKeyIsRead) {
  Limits limits;
  limits.cpus = 0.5;
  limits.cpu_weight = 200;
  limits.cpuset = "0-1,3";
  limits.memory_nodes = "0";
  limits.memory = 256_MiB;
  limits.memory_high = 200_MiB;
  limits.swap = 0_MiB;
  limits.pids = 64;
  limits.io_weight = 10000;
  limits.io = {{"/dev/vda", 10_MiB, {}, 300, {}}, {"254:16", {}, 5_MiB, {}, 400}};
  limits.hugepages = {{2_MiB, 64_MiB}, {1_GiB, 0_MiB}};
  EXPECT_EQ(limits_in("{cpus: 0.5, cpu_weight: 200, cpuset: \"0-1,3\", memory_nodes: 0, memory: 256MiB, memory_high: 200MiB, swap: 0, "
                      "pids: 64, io_weight: 10000, io: [{device: /dev/vda, read: 10MiB, reads: 300}, {device: '254:16', write: 5MiB, "
                      "writes: 400}], hugepages: {2MiB: 64MiB, 1GiB: 0}}"),
            limits);
  EXPECT_EQ(limits_in("{}"), Limits{});
}

struct Wrong {
  const char* name;
  const char* limits;
  const char* said;  // behind the file and line
  const char* hint;  // a part of it
};

class WrongLimits : public testing::TestWithParam<Wrong> {};

TEST_P(WrongLimits, AreNamedWithTheirRemedy) {
  try {
    limits_in(GetParam().limits);
    FAIL() << "was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::invalid);
    EXPECT_EQ(error.sentence(), std::string("l.yaml:2: ") + GetParam().said);
    EXPECT_THAT(error.hint(), HasSubstr(GetParam().hint));
  }
}

const Wrong kWrong[] = {
    {"Weight", "{cpu_wieght: 1}", "unknown key 'cpu_wieght' (did you mean 'cpu_weight'?)", ""},
    {"Cpuset", "{cpu_set: '0'}", "unknown key 'cpu_set' (did you mean 'cpuset'?)", ""},
    {"KeyOfADevice", "{io: [{device: /dev/vda, raed: 1MiB}]}", "unknown key 'raed' (did you mean 'read'?)", ""},
    {"NoWeight", "{cpu_weight: 0}", "'workloads.w.limits.cpu_weight' is '0' and should be a whole number from 1 to 10000", ""},
    {"LargeWeight", "{io_weight: 10001}", "'workloads.w.limits.io_weight' is '10001' and should be a whole number from 1 to 10000", ""},
    {"ReversedRange", "{cpuset: 3-1}", "'workloads.w.limits.cpuset': '3-1' is not a list of numbers", "0-3,7"},
    {"NodesInWords", "{memory_nodes: all}", "'workloads.w.limits.memory_nodes': 'all' is not a list of numbers", "0-3,7"},
    {"CpusetAsList", "{cpuset: [0, 1]}", "'workloads.w.limits.cpuset' is a list and should be one word or number", ""},
    {"SwapAlone", "{swap: 1GiB}", "'workloads.w.limits.swap' stands beside a memory limit, and there is none", "memory"},
    {"SmallHigh", "{memory_high: 64}", "'workloads.w.limits.memory_high' is 64 B, too little to run anything", "64MiB"},
    {"IoAsMap", "{io: {device: /dev/vda}}", "'workloads.w.limits.io' is a map and should be a list", ""},
    {"IoWithoutDevice", "{io: [{read: 1MiB}]}", "'workloads.w.limits.io[0]' has no 'device'", "/dev/vda"},
    {"IoThatLimitsNothing", "{io: [{device: /dev/vda}]}", "io limits nothing on /dev/vda", "read"},
    {"IoByName", "{io: [{device: vda, read: 1MiB}]}", "'vda' is no block device", "/dev/vda"},
    {"IoOfNothing", "{io: [{device: /dev/vda, write: 0}]}", "'workloads.w.limits.io[0].write' is 0 and would stop the workload", "leave"},
    {"IoTwice", "{io: [{device: /dev/a, read: 1k}, {device: /dev/a, write: 1k}]}", "device /dev/a stands there twice", ""},
    {"OddPage", "{hugepages: {3MiB: 6MiB}}", "'3MiB' is no size of a page", "2MiB"},
    {"HalfAPage", "{hugepages: {2MiB: 3MiB}}", "'workloads.w.limits.hugepages.2MiB' is no whole number of pages of 2MiB", ""},
    {"PageInWords", "{hugepages: {large: 2MiB}}", "'large' is not a size of a page", "2MiB"},
};
INSTANTIATE_TEST_SUITE_P(Suite, WrongLimits, testing::ValuesIn(kWrong), [](const auto& wrong) { return std::string(wrong.param.name); });

}  // namespace
}  // namespace tare::bench
