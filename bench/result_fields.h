// SPDX-License-Identifier: Apache-2.0
// What reads a result.json: its fields may be absent, or be something else, and then read as nothing. Pure. Private to bench/.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace tare::bench {

constexpr const char* kResultSchema = "tare.result/2";

/// Throws Error(invalid) when the text is no result.json, or has another schema than this tare's.
boost::json::value parse_result(const std::string& result_json);

/// What is returned by reference lives as long as `value`, or for ever. Null when there is none.
const boost::json::value& field(const boost::json::value& value, std::string_view key);
std::string text(const boost::json::value& value, std::string_view key);
std::optional<double> number(const boost::json::value& value, std::string_view key);
bool flag(const boost::json::value& value, std::string_view key);
const boost::json::array& list(const boost::json::value& value, std::string_view key);

}  // namespace tare::bench
