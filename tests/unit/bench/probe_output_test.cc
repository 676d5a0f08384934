// SPDX-License-Identifier: Apache-2.0
#include "bench/probe_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace tare::bench {
namespace {

std::string document(const std::string& benchmarks) { return "{\"context\": {\"num_cpus\": 1}, \"benchmarks\": [" + benchmarks + "]}\n"; }
std::string entry(const std::string& name, double real, double cpu, const std::string& unit, const std::string& more = "") {
  return "{\"name\": \"" + name + "\", \"run_name\": \"" + name +
         "\", \"run_type\": \"iteration\", \"real_time\": " + std::to_string(real) + ", \"cpu_time\": " + std::to_string(cpu) +
         ", \"time_unit\": \"" + unit + "\"" + more + "}";
}

std::string sentence_for(const std::string& output) {
  try {
    parse_probe_output(output);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::failed);
    return error.sentence();
  }
  return "was taken";
}

TEST(ProbeOutput, GivesRealAndCpuTimeInNanoseconds) {
  const auto values =
      parse_probe_output("starting {x}\n" + document(entry("syscall", 71.5, 70, "ns") + "," + entry("file/4096", 2, 1, "us")) + "bye\n");
  ASSERT_EQ(values.size(), 4U);
  EXPECT_EQ(values[0].name, "syscall");
  EXPECT_EQ(values[0].unit, "ns/op");
  EXPECT_DOUBLE_EQ(values[0].value, 71.5);
  EXPECT_EQ(values[1].name, "syscall.cpu");
  EXPECT_EQ(values[2].name, "file.4096");
  EXPECT_DOUBLE_EQ(values[2].value, 2000);
}

TEST(ProbeOutput, RepetitionsOfOneInstanceAreOneValue) {
  const auto values =
      parse_probe_output(document(entry("a", 1, 1, "ns") + "," + entry("a", 9, 9, "ns") + "," + entry("a", 2, 2, "ns") + "," +
                                  "{\"name\": \"a_mean\", \"run_name\": \"a\", \"run_type\": \"aggregate\", \"real_time\": 4, "
                                  "\"cpu_time\": 4, \"time_unit\": \"ns\"}"));
  ASSERT_EQ(values.size(), 2U);
  EXPECT_DOUBLE_EQ(values[0].value, 2);
}

TEST(ProbeOutput, WhatIsNoResultIsAFailureAndNeverZero) {
  EXPECT_THAT(sentence_for(""), testing::HasSubstr("it is empty"));
  EXPECT_THAT(sentence_for("no { here\n"), testing::HasSubstr("no line begins with '{'"));
  EXPECT_THAT(sentence_for("{\"benchmarks\": ["), testing::HasSubstr("JSON is broken"));
  EXPECT_THAT(sentence_for("{}"), testing::HasSubstr("no list 'benchmarks'"));
  EXPECT_THAT(sentence_for(document("")), testing::HasSubstr("no benchmark"));
  EXPECT_THAT(sentence_for(document("{\"name\": \"a\", \"time_unit\": \"ns\"}")), testing::HasSubstr("no real_time"));
  EXPECT_THAT(sentence_for(document(entry("a", 1, 1, "fortnights"))), testing::HasSubstr("'fortnights' is unknown"));
  EXPECT_THAT(sentence_for(document("7")), testing::HasSubstr("no object"));
  EXPECT_THAT(sentence_for(std::string(100000, '[')), testing::HasSubstr("no line begins"));
  EXPECT_THAT(sentence_for("{\"a\":" + std::string(100000, '[')), testing::HasSubstr("JSON is broken")) << "nesting is limited";
}

TEST(ProbeOutput, ABenchmarkThatFailedFailsTheTrialByName) {
  EXPECT_EQ(sentence_for(document(entry("page_fault", 0, 0, "ns", ", \"error_occurred\": true, \"error_message\": \"mmap: no memory\""))),
            "benchmark 'page_fault' failed in the workload: mmap: no memory");
}

}  // namespace
}  // namespace tare::bench
