// SPDX-License-Identifier: Apache-2.0
// Instances in JSON: what a client sends to start one, and what it is told of one. Pure.
#pragma once

#include <boost/json.hpp>
#include <string>

#include "agent/live_instance.h"

namespace tare::agent {

/// {"backend"?, "name"?, "workload": {…}}; a workload has the keys that it has in a suite. Throws Error(invalid) with "did you mean".
StartInstance start_instance_from(const std::string& body);

/// {"command", "user"?, "working_directory"?, "environment"?, "stdin"?, "tty"?, "terminal"?}, each as in a workload.
ExecRequest exec_request_from(const std::string& body);

/// The body of a request. Throws Error(invalid) for what is no JSON object; `example` is what should be sent.
boost::json::object object_from(const std::string& body, const std::string& example);

/// id, name, backend, state, image, command, created_at, and how it ended.
boost::json::object summary_json(const LiveInstance& live);
/// The same with marks, usage, protections, limits and address.
boost::json::object whole_json(const LiveInstance& live);
/// {"status", "signal"?, "oom"?, "sentence"?}; no status when nobody can tell.
boost::json::object to_json(const Ending& ending);

/// A signal as people write it: "TERM", "SIGTERM", "15". Throws Error(invalid).
int signal_named(const std::string& text);
/// "2026-11-24T09:15:32.123456789Z".
std::string utc_text(double unix_time);
/// Unix time of the host's monotonic clock at 0, in nanoseconds: adds to an Instant.
std::int64_t monotonic_epoch();
/// utc_text() of a moment.
std::string utc_text(Instant at, std::int64_t epoch);

}  // namespace tare::agent
