// SPDX-License-Identifier: Apache-2.0
// JSON as text that is the same on every run and pleasant in a diff. Private to bench/.
#pragma once

#include <boost/json.hpp>
#include <string>

namespace tare::bench {

/// Two spaces a level, keys in their order of insertion, a list of numbers on one line, each number the shortest text that reads back the
/// same; ends with a newline.
std::string json_text(const boost::json::value& value);

}  // namespace tare::bench
