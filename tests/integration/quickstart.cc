// SPDX-License-Identifier: Apache-2.0
// The README's first command on the three real backends: what it prints, what it writes, and that the numbers are all there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "bench/sample.h"
#include "core/files.h"
#include "core/process.h"
#include "core/timeline.h"
#include "tests/support/census.h"

namespace tare {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using bench::Sample;
using testing::HasSubstr;
using testing::IsSupersetOf;

const std::string kTare = TARE_BINARY_DIR "/bin/tare";
const std::vector<std::string> kBackends = {"metal", "container", "vm"};

// One run of the quickstart, which all tests of this program read.
struct Quickstart {
  Quickstart() {
    before = test::census(paths);
    output = run_tool({kTare, "bench", TARE_SOURCE_DIR "/configs/suites/quickstart.yaml", "--results", (dir.path() / "results").string()},
                      Deadline::in(std::chrono::minutes(12)));
    for (const auto& entry : fs::directory_iterator(dir.path() / "results")) results = entry.path();
    std::istringstream lines(read_file(results / "samples.csv"));
    std::string line;
    std::getline(lines, header);
    while (std::getline(lines, line)) samples.push_back(bench::parse_csv_line(line));
    result = json::parse(read_file(results / "result.json")).as_object();
    explanation = run_tool({kTare, "explain", results.filename().string()}, Deadline::in(std::chrono::minutes(1)));
    // The private agent's launcher ends with it, some milliseconds after its client.
    for (const Deadline deadline = Deadline::in(std::chrono::seconds(5)); !((after = test::census(paths)) == before);) {
      if (deadline.passed()) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  Paths paths = Paths::from_environment();
  TempDir dir{"/var/tmp"};
  test::Census before;
  test::Census after;
  Output output;
  Output explanation;
  fs::path results;
  std::string header;
  std::vector<Sample> samples;
  json::object result;
};

const Quickstart& quickstart() {
  static const Quickstart run;
  return run;
}

// trial → mark → seconds, of measured, valid trials of the workload `serve` in one backend.
std::map<int, std::map<std::string, double>> starts(const std::string& backend) {
  std::map<int, std::map<std::string, double>> trials;
  for (const Sample& s : quickstart().samples) {
    const bool counts = s.block > 0 && s.backend == backend && s.experiment == "start" && s.workload == "serve" && s.value &&
                        (s.state == "ok" || s.state.starts_with("suspect:"));
    if (counts && s.metric.starts_with("mark.")) trials[s.trial][s.metric.substr(5)] = *s.value;
  }
  return trials;
}

TEST(Quickstart, EndsWellAndPrintsTheTable) {
  const Output& output = quickstart().output;
  EXPECT_EQ(output.exit.code, 0) << output.err;
  for (const char* word : {"metal", "container", "vm", "start", "micro"}) EXPECT_THAT(output.out, HasSubstr(word));
}

TEST(Quickstart, LeavesNothingBehind) { EXPECT_EQ(quickstart().after, quickstart().before); }

TEST(Quickstart, HoldsTenStartsOrMoreOfEachBackendWithAllItsMarksInOrder) {
  for (const std::string& backend : kBackends) {
    const auto trials = starts(backend);
    EXPECT_GE(trials.size(), 10U) << backend;
    for (const auto& [trial, marks] : trials) {
      std::set<std::string> expected = {"prepared", "launched", "executed", "ready", "responded", "stopping", "exited", "removed"};
      if (backend == "vm") expected.insert({"kernel", "init"});
      std::set<std::string> found;
      for (const auto& [mark, seconds] : marks) found.insert(mark);
      found.erase("requested");
      EXPECT_EQ(found, expected) << backend << " trial " << trial;
      double last = 0;
      for (std::size_t i = 1; i < kMarkCount; ++i) {
        const auto mark = marks.find(std::string(name(static_cast<Mark>(i))));
        if (mark == marks.end()) continue;
        EXPECT_GE(mark->second, last - 0.005) << backend << " trial " << trial << " " << mark->first;  // a guest's error bound
        last = mark->second;
      }
    }
  }
}

TEST(Quickstart, ThePhasesOfAStartAddUpToIt) {
  struct Parts {
    double sum = 0;
    double ready = 0;
  };
  std::map<std::pair<std::string, int>, Parts> trials;
  for (const Sample& s : quickstart().samples) {
    if (!s.value || s.workload != "serve" || s.experiment != "start") continue;
    Parts& parts = trials[{s.backend, s.trial}];
    if (s.metric.starts_with("phase.")) {
      EXPECT_GE(*s.value, 0) << s.backend << " " << s.metric;
      if (s.metric != "phase.modules") parts.sum += *s.value;  // a part of another
    }
    if (s.metric == "mark.ready") parts.ready = *s.value;
  }
  EXPECT_GE(trials.size(), 30U);
  for (const auto& [trial, parts] : trials) EXPECT_NEAR(parts.sum, parts.ready, 1e-6) << trial.first << " " << trial.second;
}

TEST(Quickstart, IsExplained) {
  const Output& words = quickstart().explanation;
  EXPECT_EQ(words.exit.code, 0) << words.err;
  for (const char* word : {"start on metal", "start on container", "start on vm", "  kernel ", "  modules ", "  launch ", "none: "})
    EXPECT_THAT(words.out, HasSubstr(word));
}

TEST(Quickstart, HoldsEveryMicroBenchmarkOfEachBackend) {
  const std::set<std::string> expected = {
      "probe.int_arithmetic", "probe.float_arithmetic", "probe.memory_triad",       "probe.pointer_chase", "probe.syscall",
      "probe.context_switch", "probe.page_fault",       "probe.thread_create",      "probe.file_read_4k",  "probe.file_write_4k",
      "probe.file_read_1m",   "probe.file_write_1m",    "probe.loopback_round_trip"};
  for (const std::string& backend : kBackends) {
    std::map<std::string, int> counts;
    for (const Sample& s : quickstart().samples) {
      if (s.backend == backend && s.block > 0 && s.value && *s.value > 0) ++counts[s.metric];
    }
    for (const std::string& metric : expected) EXPECT_GE(counts[metric], 6) << backend << " " << metric;
  }
}

TEST(Quickstart, WritesTheContractOfItsFiles) {
  EXPECT_EQ(quickstart().header, "run,block,trial,backend,variant,workload,experiment,metric,unit,value,state");
  EXPECT_TRUE(fs::exists(quickstart().results / "report.md"));
  for (const char* key : {"schema", "run", "suite", "host", "backends", "experiments", "warnings", "agent_cost"}) {
    EXPECT_TRUE(quickstart().result.contains(key)) << key;
  }
  for (const Sample& s : quickstart().samples) EXPECT_EQ(s.run, quickstart().results.filename().string());
  const json::object& result = quickstart().result;
  EXPECT_TRUE(result.at("run").at("seed").is_string());
  EXPECT_GT(result.at("agent_cost").at("cpu_seconds").to_number<double>(), 0);
  ASSERT_EQ(result.at("backends").as_array().size(), kBackends.size());
  for (const json::value& backend : result.at("backends").as_array()) {
    const std::string name(backend.at("name").as_string());
    EXPECT_TRUE(backend.at("probe").at("able").as_bool()) << name;
    EXPECT_FALSE(backend.at("probe").at("implementation").as_string().empty()) << name;
    EXPECT_FALSE(backend.at("protections").as_object().empty()) << name;
    EXPECT_EQ(backend.at("accelerator").as_string().empty(), name != "vm") << name;
  }
}

TEST(Quickstart, ComparesWithIntervalsWhatTheContractNames) {
  std::map<std::string, std::set<std::string>> measured;  // backend → metrics of the start, as they are
  for (const json::value& experiment : quickstart().result.at("experiments").as_array()) {
    for (const json::value& comparison : experiment.at("comparisons").as_array()) {
      const std::string metric(comparison.at("metric").as_string());
      const bool has_ratio = metric.starts_with("mark.") || metric.starts_with("probe.");  // never 0; net may be
      const bool gross = comparison.at("kind").as_string() == "gross";
      const auto n_of = [&](const char* backend) { return comparison.at("backends").at(backend).at("n").to_number<int>(); };
      for (const std::string& backend : kBackends) {
        const json::object& summary = comparison.at("backends").at(backend).as_object();
        const std::string where = metric + " " + backend;
        EXPECT_FALSE(summary.at("verdict").as_string().empty()) << where;
        if (n_of(backend.c_str()) == 0) continue;
        if (gross && experiment.at("name").as_string() == "start") measured[backend].insert(metric);
        const bool pairs = backend != "metal" && gross && has_ratio && std::min(n_of("metal"), n_of(backend.c_str())) >= 6;
        EXPECT_TRUE(summary.contains("ci95") || n_of(backend.c_str()) < 6) << where;
        EXPECT_TRUE(summary.contains("ratio_ci95") || !pairs) << where;
      }
    }
  }
  for (const std::string& backend : kBackends) {
    for (const char* metric : {"usage.cpu_user", "usage.cpu_system", "usage.memory", "usage.memory_peak", "usage.memory_pss",
                               "usage.switches_voluntary", "usage.switches_involuntary"}) {
      EXPECT_TRUE(measured[backend].contains(metric)) << backend << " " << metric;
    }
  }
  EXPECT_TRUE(measured["vm"].contains("clock.error_bound"));
}

TEST(Quickstart, AnEmulatedVmIsLabelledEverywhereAndNeverRanked) {
  const std::string text = json::serialize(quickstart().result);
  if (text.find(R"("accelerator":"tcg")") == std::string::npos) GTEST_SKIP() << "this host's KVM runs VMs: nothing is emulated";
  EXPECT_THAT(quickstart().output.out, HasSubstr("emulated"));
  EXPECT_THAT(read_file(quickstart().results / "report.md"), HasSubstr("emulated"));
  for (const auto& experiment : quickstart().result.at("experiments").as_array()) {
    for (const auto& comparison : experiment.at("comparisons").as_array()) {
      const auto& backends = comparison.at("backends").as_object();
      if (const auto* vm = backends.if_contains("vm")) {
        EXPECT_THAT(std::string(vm->at("verdict").as_string()), testing::Not(testing::AnyOf("slower", "faster", "no difference")));
      }
    }
  }
}

}  // namespace
}  // namespace tare
