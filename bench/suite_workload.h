// SPDX-License-Identifier: Apache-2.0
// One workload of a suite, from YAML to the plain struct; and the forms of values that suites share. Private to bench/. Every function
// throws Error(invalid) "file:line: sentence".
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "bench/suite_rules.h"
#include "bench/yaml.h"
#include "core/workload.h"

namespace tare::bench {

/// Names reach file names, metric labels and hostnames.
void check_name(const std::string& name, const yaml::Value& place);
/// One of `words`, by its index.
std::size_t choice(const yaml::Value& value, const std::vector<std::string>& words, const std::string& what);
/// A duration of more than 0.
std::chrono::nanoseconds positive(const yaml::Value& value);
/// Notes in `place` where the parts stand that have to fit others.
Workload workload_of(const std::string& name, const yaml::Value& value, Places::OfWorkload& place);

}  // namespace tare::bench
