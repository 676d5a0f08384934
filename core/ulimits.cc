// SPDX-License-Identifier: Apache-2.0
#include "core/ulimits.h"

#include <algorithm>

namespace tare {

std::vector<ResourceLimit> resource_limits(std::vector<ResourceLimit> standard, const std::vector<Ulimit>& asked) {
  for (const Ulimit& limit : asked) {
    const auto* row =
        std::find_if(std::begin(kUlimitNames), std::end(kUlimitNames), [&](const UlimitName& known) { return known.name == limit.name; });
    if (row == std::end(kUlimitNames)) continue;  // the suite's reader knows the same names
    std::erase_if(standard, [&](const ResourceLimit& known) { return known.resource == row->resource; });
    standard.push_back({row->resource, limit.soft, limit.hard});
  }
  return standard;
}

}  // namespace tare
