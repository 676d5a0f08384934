// SPDX-License-Identifier: Apache-2.0
#include "agent/instance_api.h"

#include <charconv>
#include <utility>

#include "agent/instance_json.h"
#include "agent/instance_stream.h"
#include "agent/process_stream.h"
#include "agent/suggest.h"
#include "core/error.h"

namespace tare::agent {
namespace json = boost::json;
namespace {

Response answer(const json::value& value, int status = 200) {
  Response response;
  response.status = status;
  response.body = json::serialize(value) + "\n";
  return response;
}

Response going_on(std::unique_ptr<Source> source) {
  Response response;
  response.source = std::move(source);
  return response;
}

std::string query(const Request& request, const char* key) {
  const auto found = request.query.find(key);
  return found == request.query.end() ? "" : found->second;
}

// As Docker reads it.
bool flag(const Request& request, const char* key) {
  const std::string value = query(request, key);
  return !value.empty() && value != "0" && value != "no" && value != "false" && value != "none";
}

template <class Number>
Number number_of(const std::string& text, const char* what) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw Error(Code::invalid, std::string("'") + what + "' must be a number, not '" + text + "'");
  }
  return value;
}

std::shared_ptr<LiveInstance> named(const Instances& instances, const Request& request) { return instances.find(request.path.at("id")); }

std::shared_ptr<LiveInstance> running(const Instances& instances, const Request& request) {
  auto live = named(instances, request);
  if (live->state() == State::exited || live->state() == State::removed) {
    throw Error(Code::conflict, "instance '" + live->name() + "' has ended", "`tare ps --all` shows how");
  }
  return live;
}

Framing framing(const Request& request) {
  const std::string text = query(request, "framing");
  if (text.empty() || text == "frames") return Framing::frames;
  if (text == "docker") return Framing::docker;
  throw Error(Code::invalid, "there is no framing '" + text + "'", "leave it out, or write framing=docker");
}

Response start(Instances& instances, const Request& request) {
  StartInstance wanted = start_instance_from(request.body);
  wanted.attached = flag(request, "attach");
  auto live = instances.start(std::move(wanted));
  if (live->attached()) return going_on(attach_source(instances, std::move(live), true, framing(request)));
  Response response = answer(json::object{{"id", live->id()}, {"name", live->name()}}, 201);
  response.headers["Location"] = "/tare/v1/instances/" + live->id();
  return response;
}

Response list(const Instances& instances, const Request&) {
  json::array out;
  for (const auto& live : instances.list()) out.emplace_back(summary_json(*live));
  return answer(json::object{{"instances", std::move(out)}});
}

Response log(const Instances& instances, const Request& request) {
  LogQuery wanted;
  wanted.follow = flag(request, "follow");
  wanted.timestamps = flag(request, "timestamps");
  const bool one = flag(request, "stdout") || flag(request, "stderr");
  wanted.out = !one || flag(request, "stdout");
  wanted.err = !one || flag(request, "stderr");
  if (const std::string tail = query(request, "tail"); !tail.empty() && tail != "all") wanted.tail = number_of<std::uint64_t>(tail, "tail");
  if (const std::string since = query(request, "since"); !since.empty()) wanted.since = number_of<double>(since, "since");
  return going_on(log_source(named(instances, request), wanted));
}

Response stop(Instances& instances, const Request& request) {
  auto live = running(instances, request);
  const std::string grace = query(request, "grace");
  const auto patience = grace.empty() ? live->workload().stop_grace : parse_duration(grace);
  instances.aside([live, patience] { live->instance().stop(patience); });
  return going_on(wait_source(std::move(live)));
}

Response exec(Instances& instances, const Request& request) {
  auto live = running(instances, request);
  const ExecRequest wanted = exec_request_from(request.body);
  const Framing how = framing(request);
  auto process = live->instance().start_exec(wanted, Deadline::in(live->workload().start_timeout));
  return going_on(exec_source(instances, std::move(live), std::move(process), wanted.tty, how));
}

Response attach(Instances& instances, const Request& request) {
  return going_on(attach_source(instances, running(instances, request), false, framing(request)));
}

Response resize(Instances& instances, const Request& request) {
  const auto live = running(instances, request);
  if (live->instance().input() == nullptr || !live->workload().tty) {
    throw Error(Code::conflict, "instance '" + live->name() + "' has no terminal", "start it with `tty: true`");
  }
  live->instance().input()->resize(
      {number_of<std::uint16_t>(query(request, "rows"), "rows"), number_of<std::uint16_t>(query(request, "columns"), "columns")});
  return answer(summary_json(*live));
}

}  // namespace

void add_instance_routes(Router& router, Instances& instances) {
  const std::string all = "/tare/v1/instances";
  const std::string one = all + "/{id}";
  const auto done = [](const std::shared_ptr<LiveInstance>& live) { return answer(summary_json(*live)); };
  router.add("POST", all, [&](const Request& r) { return start(instances, r); });
  router.add("GET", all, [&](const Request& r) { return list(instances, r); });
  router.add("GET", one, [&](const Request& r) { return answer(whole_json(*named(instances, r))); });
  router.add("DELETE", one, [&](const Request& r) {
    instances.remove(r.path.at("id"), flag(r, "force"));
    return answer(json::object{{"removed", r.path.at("id")}});
  });
  router.add("GET", one + "/log", [&](const Request& r) { return log(instances, r); });
  router.add("POST", one + "/stop", [&](const Request& r) { return stop(instances, r); });
  router.add("POST", one + "/exec", [&](const Request& r) { return exec(instances, r); });
  router.add("POST", one + "/attach", [&](const Request& r) { return attach(instances, r); });
  router.add("POST", one + "/resize", [&](const Request& r) { return resize(instances, r); });
  router.add("POST", one + "/wait", [&](const Request& r) { return going_on(wait_source(named(instances, r))); });
  router.add("POST", one + "/signal", [&, done](const Request& r) {
    const auto live = running(instances, r);
    const std::string signal = query(r, "signal");
    live->instance().signal(signal_named(signal.empty() ? "TERM" : signal));
    return done(live);
  });
  router.add("POST", one + "/pause", [&, done](const Request& r) {
    const auto live = running(instances, r);
    live->instance().pause();
    return done(live);
  });
  router.add("POST", one + "/resume", [&, done](const Request& r) {
    const auto live = running(instances, r);
    live->instance().resume();
    return done(live);
  });
}

}  // namespace tare::agent
