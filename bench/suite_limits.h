// SPDX-License-Identifier: Apache-2.0
// `limits:` of a workload, as a suite writes it. Pure; any thread.
#pragma once

#include "bench/yaml.h"
#include "core/workload.h"

namespace tare::bench {

/// Throws Error(invalid) "file:line: sentence".
Limits limits_of(const yaml::Value& value);

}  // namespace tare::bench
