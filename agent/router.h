// SPDX-License-Identifier: Apache-2.0
// From a request line to a handler: method, path pattern and query. Knows nothing of sockets or of runs. Immutable after construction.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/source.h"

namespace tare::agent {

struct Request {
  std::string method;  // "GET"
  std::string target;  // "/tare/v1/runs?seed=7"
  std::string body;
  std::string accept;         // the header
  std::string last_event_id;  // the header Last-Event-ID
  std::string host;           // the header Host
  std::string origin;         // the header Origin: set by a browser's page
  std::string fetch_site;     // the header Sec-Fetch-Site
  bool over_tcp = false;      // any user of this host, or a web page in a browser, may be behind it

  std::map<std::string, std::string> path;   // filled by the router: {"id": "2026…"}
  std::map<std::string, std::string> query;  // filled by the router
};

/// An answer that goes on: the events of a run from `after` on.
struct EventStream {
  std::string run;
  std::int64_t after = 0;
};

struct Response {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::map<std::string, std::string> headers;  // further ones: Allow, Location
  std::optional<EventStream> stream;           // then body is empty
  std::shared_ptr<Source> source;              // then body and headers are empty: the source has a head of its own
  std::optional<std::string> lease;            // the run that ends when the connection does
};

class Router {
 public:
  using Handler = std::function<Response(const Request&)>;
  /// `pattern`: "/tare/v1/runs/{id}"; it is also the handler's name in the metrics.
  void add(std::string method, std::string pattern, Handler handler);
  struct Match {
    const Handler* handler = nullptr;  // null: see `allowed`
    std::string pattern;               // "none" when no path matches
    std::string allowed;               // methods of the path when the method was wrong: "GET, DELETE"
  };
  /// Fills request.path and request.query. Throws Error(invalid) for a target that is none.
  Match match(Request& request) const;

 private:
  struct Route {
    std::string method;
    std::string pattern;
    std::vector<std::string> parts;
    Handler handler;
  };
  std::vector<Route> routes_;
};

}  // namespace tare::agent
