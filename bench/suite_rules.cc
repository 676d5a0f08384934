// SPDX-License-Identifier: Apache-2.0
#include "bench/suite_rules.h"

#include <algorithm>

#include "core/words.h"

namespace tare::bench {
namespace {

std::vector<std::string> names_of(const std::map<std::string, Workload>& workloads) {
  std::vector<std::string> names;
  for (const auto& entry : workloads) names.push_back(entry.first);
  return names;
}

std::string listed_ports(const std::vector<std::uint16_t>& ports) {
  std::vector<std::string> words;
  for (const std::uint16_t port : ports) words.push_back(std::to_string(port));
  return listed(words);
}

void check_workload(const Workload& workload, const Places::OfWorkload& place) {
  if (place.network && workload.network == Network::none && !workload.ports.empty()) {
    place.network->fail("workload '" + workload.name + "' has port " + listed_ports(workload.ports) + " and no network to reach it by",
                        "remove `network: none` or `ports`");
  }
  const bool probes_port = workload.ready.kind == Ready::Kind::tcp || workload.ready.kind == Ready::Kind::http;
  if (!probes_port || std::find(workload.ports.begin(), workload.ports.end(), workload.ready.port) != workload.ports.end()) return;
  const std::string port = std::to_string(workload.ready.port);
  const std::string have = workload.ports.empty() ? "it has none" : "it has " + listed_ports(workload.ports);
  place.ready->fail(
      "workload '" + workload.name + "' is ready when port " + port + " answers, but that is not one of its ports (" + have + ")",
      "add `ports: [" + port + "]` to the workload");
}

void check_network(const Suite& suite, const Workload& workload, const Places::OfWorkload& place) {
  const bool on_vm = std::find(suite.backends.begin(), suite.backends.end(), "vm") != suite.backends.end();
  if (workload.network == Network::host && on_vm) {
    place.network->fail("workload '" + workload.name + "' has the host's network, which a VM cannot have",
                        "set `backends: [metal, container]`, or another network");
  }
}

const Workload& find_workload(const Suite& suite, const std::string& wanted, const yaml::Value& place) {
  const auto found = suite.workloads.find(wanted);
  if (found != suite.workloads.end()) return found->second;
  const auto names = names_of(suite.workloads);
  const std::string near = nearest_word(wanted, names);
  place.fail("there is no workload " + yaml::quoted(wanted) + (near.empty() ? "" : " (did you mean '" + near + "'?)"),
             "workloads of this suite: " + listed(names));
}

void check_measurable(const Experiment& experiment, const Workload& workload, const Places& places, const yaml::Value& place) {
  const bool says_ready = places.workloads.at(workload.name).ready.has_value();
  if (experiment.measure == Experiment::Measure::start && !says_ready) {
    place.fail(
        "experiment '" + experiment.name + "' measures the start of workload '" + workload.name + "', which does not say when it is ready",
        "add `ready: executed`, `ready: {http: {port: 8080}}` or another probe to the workload");
  }
  if (experiment.measure == Experiment::Measure::probe && (!says_ready || workload.ready.kind != Ready::Kind::exit)) {
    place.fail("experiment '" + experiment.name + "' reads what workload '" + workload.name +
                   "' prints until it ends, but the workload is not `ready: exit`",
               "set `ready: exit`, or `measure: start`");
  }
}

void check_experiment(const Suite& suite, const Experiment& experiment, const Places& places, const Places::OfExperiment& place) {
  check_measurable(experiment, find_workload(suite, experiment.workload, place.workload), places, place.workload);
  if (!experiment.empty) return;
  if (experiment.measure != Experiment::Measure::start) {
    place.empty->fail("experiment '" + experiment.name + "' has an empty counterpart, which only `measure: start` can use",
                      "remove `empty`");
  }
  if (*experiment.empty == experiment.workload) {
    place.empty->fail("experiment '" + experiment.name + "' has workload '" + experiment.workload + "' as its own empty counterpart",
                      "name a workload that does nothing, as `probe noop`");
  }
  check_measurable(experiment, find_workload(suite, *experiment.empty, *place.empty), places, *place.empty);
}

}  // namespace

void check_rules(const Suite& suite, const Places& places) {
  for (const auto& [name, workload] : suite.workloads) {
    check_workload(workload, places.workloads.at(name));
    check_network(suite, workload, places.workloads.at(name));
  }
  for (std::size_t i = 0; i < suite.experiments.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      if (suite.experiments[k].name != suite.experiments[i].name) continue;
      places.experiments[i].whole.fail("two experiments are named '" + suite.experiments[i].name + "'",
                                       "results are kept by name: rename one");
    }
    check_experiment(suite, suite.experiments[i], places, places.experiments[i]);
  }
}

}  // namespace tare::bench
