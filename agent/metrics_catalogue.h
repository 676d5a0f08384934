// SPDX-License-Identifier: Apache-2.0
// The metric families that this agent emits, in one table: names, types, labels and help as in dashboards/metrics.tsv, which also holds
// families of later parts. A family without data is absent from a scrape.
#pragma once

#include <span>
#include <string_view>

namespace tare::agent {

struct Family {
  enum class Kind { gauge, counter, histogram };
  std::string_view name;
  Kind kind;
  std::string_view labels;  // comma-separated, in the order in which values are given
  std::string_view help;
};

std::span<const Family> metric_families();
/// Throws Error(internal) for a name that the table lacks.
const Family& metric_family(std::string_view name);

}  // namespace tare::agent
