// SPDX-License-Identifier: Apache-2.0
// What about a host would spoil a number, judged from its facts alone. Pure. Private to bench/.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bench/host.h"

namespace tare::bench {

std::vector<Check> host_checks(const std::map<std::string, std::string>& facts);

}  // namespace tare::bench
