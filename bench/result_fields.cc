// SPDX-License-Identifier: Apache-2.0
#include "bench/result_fields.h"

#include <boost/json.hpp>

#include "core/error.h"

namespace tare::bench {
namespace json = boost::json;

json::value parse_result(const std::string& result_json) {
  json::error_code error;
  json::value result = json::parse(result_json, error);
  if (error || !text(result, "schema").starts_with("tare.result/")) {
    throw Error(Code::invalid, "this is no result.json of tare" + (error ? ": " + error.message() : std::string()),
                "give the result.json that a run wrote");
  }
  if (text(result, "schema") != kResultSchema) {
    throw Error(Code::invalid, "this result has the form " + text(result, "schema") + ", which this tare does not know",
                "read it with the tare that wrote it");
  }
  return result;
}

const json::value& field(const json::value& value, std::string_view key) {
  static const json::value kNothing;
  const json::object* object = value.if_object();
  const json::value* found = object == nullptr ? nullptr : object->if_contains(key);
  return found == nullptr ? kNothing : *found;
}

std::string text(const json::value& value, std::string_view key) {
  const json::string* found = field(value, key).if_string();
  return found == nullptr ? std::string() : std::string(*found);
}

std::optional<double> number(const json::value& value, std::string_view key) {
  const json::value& found = field(value, key);
  return found.is_number() ? std::optional(found.to_number<double>()) : std::nullopt;
}

bool flag(const json::value& value, std::string_view key) {
  const json::value& found = field(value, key);
  return found.is_bool() && found.as_bool();
}

const json::array& list(const json::value& value, std::string_view key) {
  static const json::array kNone;
  const json::array* found = field(value, key).if_array();
  return found == nullptr ? kNone : *found;
}

}  // namespace tare::bench
