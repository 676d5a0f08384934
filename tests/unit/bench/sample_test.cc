// SPDX-License-Identifier: Apache-2.0
#include "bench/sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace tare::bench {
namespace {

Sample sample() {
  Sample s;
  s.run = "20260117T101500-3f2a";
  s.block = 3;
  s.trial = 17;
  s.backend = "vm";
  s.variant = "cold";
  s.workload = "serve";
  s.experiment = "start";
  s.metric = "mark.ready";
  s.unit = std::string(1, 's');  // g++ 12 sees a false overlap in assigning "s" here (PR 105329)
  s.value = 0.1;
  return s;
}

bool same(const Sample& a, const Sample& b) { return csv_line(a) == csv_line(b) && a.value == b.value && a.state == b.state; }

TEST(SampleCsv, HeaderAndLineAreTheContract) {
  EXPECT_EQ(csv_header(), "run,block,trial,backend,variant,workload,experiment,metric,unit,value,state\n");
  EXPECT_EQ(csv_line(sample()), "20260117T101500-3f2a,3,17,vm,cold,serve,start,mark.ready,s,0.1,ok\n");
}

TEST(SampleCsv, KeepsEveryDigitOfAValue) {
  for (const double value : {0.1 + 0.2, 1e-300, 123456789012345678.0, -0.0, 4.9e-324, std::numeric_limits<double>::max()}) {
    Sample s = sample();
    s.value = value;
    std::string line = csv_line(s);
    line.pop_back();
    EXPECT_EQ(parse_csv_line(line).value, value);
  }
}

TEST(SampleCsv, MissingIsEmptyAndNotZero) {
  Sample s = sample();
  s.value.reset();
  s.state = "failed:timeout";
  EXPECT_EQ(csv_line(s), "20260117T101500-3f2a,3,17,vm,cold,serve,start,mark.ready,s,,failed:timeout\n");
  std::string line = csv_line(s);
  line.pop_back();
  EXPECT_EQ(parse_csv_line(line).value, std::nullopt);
  s.value = std::nan("");
  EXPECT_NE(csv_line(s).find(",s,,"), std::string::npos) << "what is no number is missing";
}

TEST(SampleCsv, QuotesWhatWouldBreakALine) {
  Sample s = sample();
  s.state = "suspect:a, \"b\"\nc";
  const std::string text = csv_header() + csv_line(s) + csv_line(sample());
  const auto samples = parse_csv(text);
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_TRUE(same(samples[0], s));
  EXPECT_TRUE(same(samples[1], sample()));
}

TEST(SampleCsv, BrokenLinesAreRefusedWithTheirNumber) {
  EXPECT_THROW(parse_csv_line("a,b"), Error);
  EXPECT_THROW(parse_csv_line("r,x,1,vm,cold,w,e,m,s,1,ok"), Error);
  EXPECT_THROW(parse_csv_line("r,1,1,vm,cold,w,e,m,s,1 ms,ok"), Error);
  EXPECT_THROW(parse_csv_line("r,1,1,vm,cold,w,e,m,s,\"1,ok"), Error);
  EXPECT_THROW(parse_csv("run,value\n"), Error);
  try {
    parse_csv(csv_header() + csv_line(sample()) + "short\n");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.sentence(), testing::StartsWith("samples.csv, record 3: "));
  }
}

}  // namespace
}  // namespace tare::bench
