// SPDX-License-Identifier: Apache-2.0
// The HTTP API without HTTP's transport: handlers translate a request into a call and its result into JSON; nothing else. The paths are
// described in api.md. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "agent/metrics.h"
#include "agent/router.h"
#include "agent/runs.h"
#include "agent/store.h"
#include "core/error.h"

namespace tare::agent {

class Api {
 public:
  Api(Runs& runs, Store& store, Metrics& metrics);
  /// Never throws: a failure is an answer with the one error body.
  Response handle(Request request) noexcept;
  /// Where further resources add their routes, before the first request.
  Router& router() { return router_; }

 private:
  void add_run_routes();
  Response start_run(const Request& request);
  Response list_runs(const Request& request);
  Response one_run(const Request& request);
  Response samples(const Request& request);
  Response result(const Request& request);
  Response explanation(const Request& request);
  Response events(const Request& request);
  Response cancel(const Request& request);
  Response host(const Request& request);
  Response dispatch(Request& request, std::string& handler);
  RunSummary known_run(const Request& request) const;

  Runs& runs_;
  Store& store_;
  Metrics& metrics_;
  Router router_;
};

/// The answer that reports `error`.
Response error_response(const Error& error);

}  // namespace tare::agent
