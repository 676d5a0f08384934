// SPDX-License-Identifier: Apache-2.0
#include "bench/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"

namespace tare::bench {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Values = std::vector<std::pair<std::string, double>>;  // metric → median in seconds

/// A result.json with one experiment, lane by lane.
class Result {
 public:
  Result& lane(const std::string& name, bool emulated, const Values& values, const json::object& missing = {}) {
    json::object backend;
    backend["name"] = name;
    backend["probe"] = json::object{{"emulated", emulated}, {"remedy", emulated ? "modprobe kvm_intel" : ""}};
    if (!missing.empty()) backend["missing"] = missing;
    backends_.emplace_back(std::move(backend));
    for (const auto& [metric, value] : values) medians_[metric][name] = json::object{{"n", 12}, {"median", value}};
    return *this;
  }
  std::string text(const std::string& measure = "start") const {
    json::array comparisons;
    for (const auto& [metric, summaries] : medians_) {
      comparisons.emplace_back(json::object{{"metric", metric}, {"kind", "gross"}, {"unit", "s"}, {"backends", summaries}});
    }
    const json::object experiment = {{"name", "serve"}, {"workload", "serve"}, {"measure", measure}, {"comparisons", comparisons}};
    return json::serialize(json::object{{"schema", "tare.result/2"}, {"backends", backends_}, {"experiments", json::array{experiment}}});
  }

 private:
  json::array backends_;
  std::map<std::string, json::object> medians_;
};

const Values kContainer = {
    {"mark.ready", 0.0100}, {"phase.prepare", 0.0012}, {"phase.launch", 0.0020}, {"phase.execute", 0.0008}, {"phase.ready", 0.0060}};
const Values kBoot = {{"mark.ready", 1.400},     {"phase.prepare", 0.002},  {"phase.libvirt", 0.020},   {"phase.qemu", 0.060},
                      {"phase.firmware", 0.040}, {"phase.kernel", 0.900},   {"phase.initramfs", 0.150}, {"phase.modules", 0.110},
                      {"phase.root", 0.060},     {"phase.workload", 0.028}, {"phase.ready", 0.140}};

TEST(Explain, TellsWhereTheTimeGoesAndWhatWouldShortenIt) {
  const Result result = Result()
                            .lane("container", false, kContainer)
                            .lane("vm", true, kBoot, {{"phase.decompression", "none: the kernel is started as ELF"}})
                            .lane("vm:restored", true,
                                  {{"mark.ready", 0.100},
                                   {"phase.prepare", 0.080},
                                   {"phase.resume", 0.002},
                                   {"phase.identity", 0.013},
                                   {"phase.ready", 0.005}});
  const std::string text = explanation_text(explain(result.text()), 100);
  const std::filesystem::path golden = std::filesystem::path(TARE_SOURCE_DIR) / "tests/golden/explain.txt";
  if (std::getenv("TARE_WRITE_GOLDEN") != nullptr) {  // NOLINT(concurrency-mt-unsafe)
    write_file_atomic(golden, text);
    ADD_FAILURE() << "explain.txt was written";
    return;
  }
  EXPECT_EQ(try_read_file(golden).value_or(""), text);
}

TEST(Explain, SharesAreOfTheWholeStartAndPartsCountOnce) {
  const auto starts = explain(Result().lane("vm", true, kBoot).text());
  ASSERT_EQ(starts.size(), 1U);
  double sum = 0;
  for (const ExplainedPhase& phase : starts[0].phases) sum += phase.part_of.empty() ? phase.share.value_or(0) : 0;
  EXPECT_NEAR(sum, 1, 1e-9);
}

TEST(Explain, AdvisesOnlyWhatTheNumbersSpeakFor) {
  const Values quick = {
      {"mark.ready", 0.010}, {"phase.prepare", 0.0001}, {"phase.launch", 0.0001}, {"phase.execute", 0.0008}, {"phase.ready", 0.009}};
  const auto own = explain(Result().lane("metal", false, quick).text());
  EXPECT_THAT(own[0].advice, ElementsAre(HasSubstr("the workload's own start")));
  const auto vm = explain(Result().lane("vm", false, kBoot).text());
  EXPECT_THAT(vm[0].advice, ElementsAre(HasSubstr("`start: restored`")));
  const auto zygote = explain(Result().lane("container:zygote", false, {{"mark.ready", 0.001}, {"phase.prepare", 0.001}}).text());
  EXPECT_THAT(zygote[0].advice, IsEmpty());
}

TEST(Explain, APhaseWithoutANumberTellsWhyAndIsNotZero) {
  const auto starts =
      explain(Result().lane("vm", true, {{"mark.ready", 1}, {"phase.kernel", 1}}, {{"phase.qemu", "refused: below zero"}}).text());
  const std::string text = explanation_text(starts, 100);
  EXPECT_THAT(text, HasSubstr("refused: below zero"));
  EXPECT_THAT(text, HasSubstr("this run did not measure it"));
  EXPECT_THAT(explanation_json(starts), Not(HasSubstr("null")));
}

TEST(Explain, RefusesWhatIsNoResultAndARunWithoutAStart) {
  EXPECT_THROW(explain("{}"), Error);
  EXPECT_THROW(explain("[1"), Error);
  EXPECT_THROW(explain(Result().lane("vm", true, kBoot).text("probe")), Error);
}

}  // namespace
}  // namespace tare::bench
