// SPDX-License-Identifier: Apache-2.0
#include "agent/api.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <optional>

#include "agent/journal.h"
#include "agent/wire.h"
#include "bench/explain.h"
#include "bench/result.h"
#include "core/error.h"

namespace tare::agent {
namespace json = boost::json;
namespace {

Response ok(const json::value& value) {
  Response response;
  response.body = json::serialize(value) + "\n";
  return response;
}

std::string query(const Request& request, const std::string& key) {
  const auto found = request.query.find(key);
  return found == request.query.end() ? std::string() : found->second;
}

template <class Number>
Number number_of(const std::string& text, const std::string& what) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw Error(Code::invalid, what + " must be a number, not '" + text + "'");
  }
  return value;
}

std::vector<std::string> comma_list(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t comma = std::min(text.find(',', from), text.size());
    if (comma > from) out.push_back(text.substr(from, comma - from));
    from = comma + 1;
  }
  return out;
}

json::object to_json(const RunSummary& run) {
  json::object out;
  out["id"] = run.id;
  out["suite"] = run.suite;
  out["state"] = run.state;
  out["sentence"] = run.sentence;
  out["started_at"] = run.started_at;
  if (run.wall_seconds) out["wall_seconds"] = *run.wall_seconds;
  out["seed"] = std::to_string(run.seed);  // as a text: JSON's numbers lose digits above 2^53
  out["planned"] = run.planned;
  out["completed"] = run.completed;
  return out;
}

json::value sample_json(const bench::Sample& sample) {
  json::object out;
  out["block"] = sample.block;
  out["trial"] = sample.trial;
  out["backend"] = sample.backend;
  out["variant"] = sample.variant;
  out["workload"] = sample.workload;
  out["experiment"] = sample.experiment;
  out["metric"] = sample.metric;
  out["unit"] = sample.unit;
  if (sample.value) out["value"] = *sample.value;
  out["state"] = sample.state;
  return out;
}

/// "10.0.2.15:9177" → "10.0.2.15", "[fe80::1]:9177" → "fe80::1".
std::string host_name_of(const std::string& header) {
  if (header.starts_with('[')) return header.substr(1, header.find(']') - 1);
  return header.substr(0, header.rfind(':'));
}

// A web page must not reach the agent through a name of its own that resolves to this host (DNS rebinding). An address is no name.
void check_host(const Request& request) {
  const std::string name = host_name_of(request.host);
  in6_addr scratch{};
  if (::inet_pton(AF_INET, name.c_str(), &scratch) == 1 || ::inet_pton(AF_INET6, name.c_str(), &scratch) == 1) return;
  std::array<char, 256> own{};
  if (name == "localhost" || (::gethostname(own.data(), own.size() - 1) == 0 && name == own.data())) return;
  throw Error(Code::invalid, "the Host header '" + request.host + "' does not name this agent",
              "use this host's address, its host name or localhost");
}

Response forbidden(const std::string& sentence, const std::string& hint) {
  Response response = error_response(Error(Code::invalid, sentence, hint));
  response.status = 403;
  return response;
}

// TCP knows no file rights: what comes over it may read and nothing else, and a page of another site may not even read.
std::optional<Response> forbidden_over_tcp(const Request& request) {
  if (!request.over_tcp) return std::nullopt;
  check_host(request);
  if (request.method != "GET" && request.method != "HEAD") {
    return forbidden(request.method + " is not allowed over TCP, which is read-only", "use the unix socket");
  }
  const bool foreign = !request.origin.empty() && request.origin != "http://" + request.host;
  if (foreign || request.fetch_site == "cross-site" || request.fetch_site == "same-site") {
    return forbidden("a page of another site" + (foreign ? " (" + request.origin + ")" : std::string()) + " may not ask this agent",
                     "ask it with a program, or open the address itself");
  }
  return std::nullopt;
}

}  // namespace

Response error_response(const Error& error) {
  Response response;
  response.status = http_status(error.code());
  response.body = error_body(error);
  return response;
}

Api::Api(Runs& runs, Store& store, Metrics& metrics) : runs_(runs), store_(store), metrics_(metrics) {
  router_.add("GET", "/healthz", [](const Request&) { return ok(json::object{{"status", "ok"}}); });
  router_.add("GET", "/metrics", [this](const Request&) {
    Response response;
    response.type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = metrics_.text();
    return response;
  });
  router_.add("GET", "/tare/v1/host", [this](const Request& r) { return host(r); });
  add_run_routes();
}

void Api::add_run_routes() {
  router_.add("GET", "/tare/v1/runs", [this](const Request& r) { return list_runs(r); });
  router_.add("POST", "/tare/v1/runs", [this](const Request& r) { return start_run(r); });
  router_.add("GET", "/tare/v1/runs/{id}", [this](const Request& r) { return one_run(r); });
  router_.add("DELETE", "/tare/v1/runs/{id}", [this](const Request& r) { return cancel(r); });
  router_.add("GET", "/tare/v1/runs/{id}/samples", [this](const Request& r) { return samples(r); });
  router_.add("GET", "/tare/v1/runs/{id}/result", [this](const Request& r) { return result(r); });
  router_.add("GET", "/tare/v1/runs/{id}/explanation", [this](const Request& r) { return explanation(r); });
  router_.add("GET", "/tare/v1/runs/{id}/events", [this](const Request& r) { return events(r); });
}

Response Api::handle(Request request) noexcept {
  const auto began = std::chrono::steady_clock::now();
  std::string handler = "none";
  Response response;
  try {
    response = dispatch(request, handler);
  } catch (const Error& e) {
    response = error_response(e);
  } catch (const std::exception& e) {
    journal::error(request.method + " " + request.target + ": " + e.what());
    response = error_response(Error(Code::internal, std::string("internal fault: ") + e.what(), "the agent's log has more"));
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  metrics_.request_answered(handler, response.status, took.count());
  return response;
}

Response Api::dispatch(Request& request, std::string& handler) {
  if (auto refused = forbidden_over_tcp(request)) return *std::move(refused);
  const Router::Match match = router_.match(request);
  handler = match.pattern;
  if (match.handler != nullptr) return (*match.handler)(request);
  if (match.allowed.empty()) {
    throw Error(Code::not_found, "there is no path " + request.target.substr(0, request.target.find('?')), "agent/api.md lists the paths");
  }
  Response response = error_response(Error(Code::invalid, match.pattern + " does not take " + request.method, "it takes " + match.allowed));
  response.status = 405;
  response.headers["Allow"] = match.allowed;
  return response;
}

Response Api::start_run(const Request& request) {
  StartRun start;
  start.suite_yaml = request.body;
  if (start.suite_yaml.empty()) throw Error(Code::invalid, "the body is empty", "send a suite's YAML");
  if (const std::string file = query(request, "file"); !file.empty()) start.file_name = file;
  if (const std::string seed = query(request, "seed"); !seed.empty()) start.seed = number_of<std::uint64_t>(seed, "'seed'");
  start.backends = comma_list(query(request, "backends"));
  const std::string id = runs_.start(start);
  Response response = ok(json::object{{"id", id}});
  response.status = 201;
  response.headers["Location"] = "/tare/v1/runs/" + id;
  if (query(request, "lease") == "1") response.lease = id;
  return response;
}

Response Api::list_runs(const Request& request) {
  const std::string limit = query(request, "limit");
  json::array list;
  for (const RunSummary& run : store_.runs(limit.empty() ? 1000 : number_of<int>(limit, "'limit'"))) list.emplace_back(to_json(run));
  return ok(json::object{{"runs", std::move(list)}});
}

RunSummary Api::known_run(const Request& request) const {
  const std::string& id = request.path.at("id");
  auto run = store_.find(id);
  if (!run) throw Error(Code::not_found, "there is no run '" + id + "'", "`tare runs` lists them");
  return *std::move(run);
}

Response Api::one_run(const Request& request) { return ok(to_json(known_run(request))); }

Response Api::samples(const Request& request) {
  const RunSummary run = known_run(request);
  const bool as_json = query(request, "format") == "json" || request.accept.find("application/json") != std::string::npos;
  if (as_json) {
    json::array list;
    for (const bench::Sample& sample : store_.samples(run.id)) list.emplace_back(sample_json(sample));
    return ok(json::object{{"run", run.id}, {"samples", std::move(list)}});
  }
  Response response;
  response.type = "text/csv; charset=utf-8";
  response.body = bench::csv_header();
  for (const bench::Sample& sample : store_.samples(run.id)) response.body += bench::csv_line(sample);
  return response;
}

Response Api::result(const Request& request) {
  const RunSummary run = known_run(request);
  const std::string format = query(request, "format");
  const std::string width_text = query(request, "width");
  const int width = width_text.empty() ? 100 : number_of<int>(width_text, "'width'");
  const bool colour = query(request, "colour") == "1";
  Response response;
  const auto stored = format == "markdown" ? store_.report(run.id) : store_.result(run.id);
  if (format == "markdown") response.type = "text/markdown; charset=utf-8";
  if (format == "table") response.type = "text/plain; charset=utf-8";
  if (stored && format != "table") {
    response.body = *stored;
    return response;
  }
  // Of a run that goes on, wherever it does, what was computed last is drawn: computing anew would disturb it.
  if (stored && run.state == "running") {
    response.body = bench::table_from_json(*stored, width, colour);
    return response;
  }
  if (run.completed == 0) throw Error(Code::not_found, "run " + run.id + " has no result yet", "its first trial has not ended");
  if (const auto active = runs_.active()) {
    throw Error(Code::conflict, "run " + *active + " is active; computing a result would disturb it", "ask again when it has ended");
  }
  const Store::Loaded loaded = store_.load(run.id);
  const bench::Result computed = bench::analyse(loaded.suite, loaded.record, loaded.host);
  if (format == "table") {
    response.body = bench::table(loaded.suite, loaded.record, computed, width, colour);
  } else if (format == "markdown") {
    response.body = bench::report_markdown(loaded.suite, loaded.record, loaded.host, computed);
  } else {
    response.body = bench::result_json(loaded.suite, loaded.record, loaded.host, computed);
  }
  return response;
}

Response Api::explanation(const Request& request) {
  const std::string width = query(request, "width");
  const bool as_text = query(request, "format") == "text";
  Request json = request;
  json.query.clear();
  const auto starts = bench::explain(result(json).body);
  Response response;
  if (as_text) response.type = "text/plain; charset=utf-8";
  response.body =
      as_text ? bench::explanation_text(starts, width.empty() ? 100 : number_of<int>(width, "'width'")) : bench::explanation_json(starts);
  return response;
}

Response Api::events(const Request& request) {
  const RunSummary run = known_run(request);
  Response response;
  response.type = "text/event-stream";
  response.stream = EventStream{run.id, 0};
  if (!request.last_event_id.empty()) response.stream->after = number_of<std::int64_t>(request.last_event_id, "Last-Event-ID");
  return response;
}

Response Api::cancel(const Request& request) {
  const std::string& id = request.path.at("id");
  runs_.cancel(id);
  Response response = ok(json::object{{"id", id}, {"state", "canceling"}});
  response.status = 202;
  return response;
}

Response Api::host(const Request& request) {
  const Examination examination = runs_.examination(query(request, "fresh") == "1");
  json::object out = to_json(examination);
  if (const auto active = runs_.active()) out["active_run"] = *active;
  return ok(out);
}

}  // namespace tare::agent
