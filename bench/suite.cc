// SPDX-License-Identifier: Apache-2.0
#include "bench/suite.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "bench/suite_rules.h"
#include "bench/suite_workload.h"
#include "bench/yaml.h"
#include "core/bytes.h"
#include "core/error.h"
#include "core/words.h"

namespace tare::bench {
namespace {

using yaml::Map;
using yaml::Value;

constexpr std::size_t kMostWorkloads = 64;
constexpr std::size_t kMostExperiments = 256;
const std::vector<std::string> kLanes = {"metal",        "container",        "vm",          "metal:pooled", "container:pooled",
                                         "metal:zygote", "container:zygote", "vm:restored", "vm:parked"};

std::string sha256(const std::string& text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    throw Error(Code::internal, "SHA-256 of the suite failed");
  }
  return "sha256:" + hex_of({reinterpret_cast<const char*>(digest.data()), size});
}

Experiment experiment_of(const Value& value, Places& places) {
  Experiment e;
  Map map(value);
  const Value name = map.require("name", "results are kept by the experiment's name");
  e.name = name.text();
  check_name(e.name, name);
  const Value measure = map.require("measure", "write measure: start or measure: probe");
  e.measure = choice(measure, {"start", "probe"}, "measure") == 0 ? Experiment::Measure::start : Experiment::Measure::probe;
  const Value workload = map.require("workload", "name one of the suite's workloads");
  e.workload = workload.text();
  const auto empty = map.take("empty");
  if (empty) e.empty = empty->text();
  if (const auto trials = map.take("trials")) e.trials = static_cast<int>(trials->integer(1, 10000));
  if (const auto warmup = map.take("warmup")) e.warmup = static_cast<int>(warmup->integer(0, 1000));
  if (const auto timeout = map.take("timeout")) e.timeout = positive(*timeout);
  if (const auto settle = map.take("settle")) e.settle = settle->duration();
  map.finish();
  places.experiments.push_back({value, workload, empty});
  return e;
}

void read_workloads(const Value& value, Suite& suite, Places& places) {
  const auto entries = value.entries();
  if (entries.empty()) value.fail("the suite has no workload");
  if (entries.size() > kMostWorkloads) value.fail("the suite has more than " + std::to_string(kMostWorkloads) + " workloads");
  for (const auto& [name, entry] : entries) {
    check_name(name, entry);
    Places::OfWorkload place{entry, {}, {}, {}};
    suite.workloads.emplace(name, workload_of(name, entry, place));
    places.workloads.emplace(name, std::move(place));
  }
}

std::vector<std::string> backends_of(const Value& value) {
  std::vector<std::string> out;
  for (const Value& item : value.items()) {
    out.push_back(kLanes[choice(item, kLanes, "backend")]);
    if (std::count(out.begin(), out.end(), out.back()) > 1) item.fail("backend '" + out.back() + "' stands there twice");
  }
  if (out.empty()) value.fail("'backends' is an empty list", "write backends: [metal, container, vm], or leave it out for all");
  return out;
}

}  // namespace

std::string_view name(Experiment::Measure measure) noexcept { return measure == Experiment::Measure::start ? "start" : "probe"; }

Lane lane_of(std::string_view text) {
  const std::size_t colon = text.find(':');
  Lane lane{std::string(text.substr(0, colon)), std::nullopt};
  if (colon == std::string_view::npos) return lane;
  for (std::size_t i = 0; i < std::size(kStartNames); ++i) {
    if (kStartNames[i] == text.substr(colon + 1)) lane.start = static_cast<Start>(i);
  }
  if (!lane.start) lane.backend = text;  // no backend's name: whoever looks for it says so
  return lane;
}

Workload in_lane(Workload workload, const Lane& lane) {
  if (lane.start) workload.start = *lane.start;
  return workload;
}

Workload load_workload(const std::string& name, const std::string& text, std::string_view source) {
  const Value document = Value::parse(text, source);
  Places::OfWorkload place{document, {}, {}, {}};
  return workload_of(name, document, place);
}

Suite load_suite(std::string text, std::string_view file_name) {
  Suite suite;
  Places places;
  const Value document = Value::parse(text, file_name);
  Map map(document);
  const auto name = map.take("name");
  if (const auto description = map.take("description")) suite.description = description->text();
  if (const auto backends = map.take("backends")) suite.backends = backends_of(*backends);
  if (const auto seed = map.take("seed")) suite.seed = seed->unsigned_integer();
  const auto workloads = map.take("workloads");
  const auto experiments = map.take("experiments");
  map.finish();  // before what is below, so that a misspelt section is called that and not missing
  if (!name) document.fail("the document has no 'name'", "begin the suite with name: and a word");
  suite.name = name->text();
  check_name(suite.name, *name);
  if (!workloads)
    document.fail("the suite has no 'workloads'", "say what is run: workloads: {serve: {image: tare/probe, command: [probe, serve]}}");
  if (!experiments)
    document.fail("the suite has no 'experiments'", "say what is measured: experiments: [{name: start, measure: start, workload: serve}]");
  read_workloads(*workloads, suite, places);
  for (const Value& item : experiments->items()) {
    if (suite.experiments.size() == kMostExperiments)
      item.fail("the suite has more than " + std::to_string(kMostExperiments) + " experiments");
    suite.experiments.push_back(experiment_of(item, places));
  }
  if (suite.experiments.empty()) experiments->fail("'experiments' is an empty list");
  check_rules(suite, places);
  suite.digest = sha256(text);
  suite.text = std::move(text);
  return suite;
}

}  // namespace tare::bench
