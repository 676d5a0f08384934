// SPDX-License-Identifier: Apache-2.0
#include "agent/router.h"

#include <boost/url.hpp>

#include "core/error.h"

namespace tare::agent {
namespace {

bool is_name(const std::string& part) { return part.size() > 2 && part.front() == '{' && part.back() == '}'; }

bool fits(const std::vector<std::string>& pattern, const std::vector<std::string>& path, std::map<std::string, std::string>& names) {
  if (pattern.size() != path.size()) return false;
  std::map<std::string, std::string> found;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (is_name(pattern[i])) {
      if (path[i].empty()) return false;
      found[pattern[i].substr(1, pattern[i].size() - 2)] = path[i];
    } else if (pattern[i] != path[i]) {
      return false;
    }
  }
  names = std::move(found);
  return true;
}

}  // namespace

void Router::add(std::string method, std::string pattern, Handler handler) {
  std::vector<std::string> parts;
  for (std::size_t from = 1; from <= pattern.size();) {
    const std::size_t slash = std::min(pattern.find('/', from), pattern.size());
    parts.push_back(pattern.substr(from, slash - from));
    from = slash + 1;
  }
  routes_.push_back({std::move(method), std::move(pattern), std::move(parts), std::move(handler)});
}

Router::Match Router::match(Request& request) const {
  const auto url = boost::urls::parse_origin_form(request.target);
  if (!url) throw Error(Code::invalid, "the request's target is not a path", "see agent/api.md for the paths");
  std::vector<std::string> path;
  for (const auto& segment : url->segments()) path.emplace_back(segment);
  for (const auto& parameter : url->params()) request.query[parameter.key] = parameter.value;
  Match match;
  match.pattern = "none";
  for (const Route& route : routes_) {
    if (!fits(route.parts, path, request.path)) continue;
    match.pattern = route.pattern;
    if (route.method == request.method) {
      match.handler = &route.handler;
      return match;
    }
    match.allowed += (match.allowed.empty() ? "" : ", ") + route.method;
  }
  return match;
}

}  // namespace tare::agent
