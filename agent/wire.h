// SPDX-License-Identifier: Apache-2.0
// The JSON that agent and client exchange, and the small values in it. Pure.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "bench/host.h"
#include "bench/runner.h"
#include "core/error.h"

namespace tare::agent {

/// {"error":{"code","sentence","hint"}}: the one error body of the API.
std::string error_body(const Error& error);
/// The inverse; an Error(internal) that quotes the body when it is none.
Error error_from(std::string_view body, int http_status);

boost::json::object to_json(const bench::HostContext& host);
bench::HostContext host_from(const boost::json::value& value);
boost::json::object to_json(const Probe& probe);
boost::json::array to_json(const std::vector<bench::BackendInfo>& backends);
std::vector<bench::BackendInfo> backends_from(const boost::json::value& value);
boost::json::object to_json(const bench::AgentCost& cost);
bench::AgentCost cost_from(const boost::json::value& value);

/// The text under `key`, or nothing there: "".
std::string text_at(const boost::json::value& value, std::string_view key);
double number_at(const boost::json::value& value, std::string_view key);
boost::json::value parse_json(std::string_view text);

std::string_view name(bench::Outcome outcome);

/// "2026-11-23T23:15:01Z".
std::string utc_now();
/// "20261123T231501-3f2a": sorts by time, names a directory.
std::string new_run_id();

}  // namespace tare::agent
