// SPDX-License-Identifier: Apache-2.0
// What a suite must satisfy beyond the form of each value: names that exist, probes that can be reached. Private to bench/.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/suite.h"
#include "bench/yaml.h"

namespace tare::bench {

/// Where the parts of a suite stand in its file, for messages about how they fit together.
struct Places {
  struct OfWorkload {
    yaml::Value whole;
    std::optional<yaml::Value> ready;
    std::optional<yaml::Value> network;
    std::optional<yaml::Value> ports;
  };
  struct OfExperiment {
    yaml::Value whole;
    yaml::Value workload;
    std::optional<yaml::Value> empty;
  };
  std::map<std::string, OfWorkload> workloads;
  std::vector<OfExperiment> experiments;  // as Suite::experiments
};

/// Throws Error(invalid) "file:line: sentence" for the first rule that is broken.
void check_rules(const Suite& suite, const Places& places);

}  // namespace tare::bench
