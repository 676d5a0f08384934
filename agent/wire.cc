// SPDX-License-Identifier: Apache-2.0
#include "agent/wire.h"

#include <array>
#include <ctime>
#include <random>

namespace tare::agent {
namespace json = boost::json;
namespace {

std::string utc(const char* format) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 64> text{};
  return {text.data(), std::strftime(text.data(), text.size(), format, &parts)};
}

json::object map_json(const std::map<std::string, std::string>& map) {
  json::object out;
  for (const auto& [key, value] : map) out[key] = value;
  return out;
}

std::map<std::string, std::string> map_from(const json::value& value, std::string_view key) {
  std::map<std::string, std::string> out;
  const json::value* found = value.is_object() ? value.as_object().if_contains(key) : nullptr;
  if (found == nullptr || !found->is_object()) return out;
  for (const auto& entry : found->as_object()) {
    if (entry.value().is_string()) out[std::string(entry.key())] = std::string(entry.value().as_string());
  }
  return out;
}

bool flag_at(const json::value& value, std::string_view key) {
  const json::value* found = value.is_object() ? value.as_object().if_contains(key) : nullptr;
  return found != nullptr && found->is_bool() && found->as_bool();
}

}  // namespace

std::string error_body(const Error& error) {
  json::object inner;
  inner["code"] = tare::name(error.code());
  inner["sentence"] = error.sentence();
  inner["hint"] = error.hint();
  json::object outer;
  outer["error"] = std::move(inner);
  return json::serialize(outer) + "\n";
}

Error error_from(std::string_view body, int http_status) {
  json::error_code failed;
  const json::value value = json::parse(json::string_view(body.data(), body.size()), failed);
  const json::value* inner = !failed && value.is_object() ? value.as_object().if_contains("error") : nullptr;
  if (inner == nullptr) {
    return {Code::internal, "the agent answered with status " + std::to_string(http_status) + " and no error body",
            "is another program listening on that socket?"};
  }
  return {code_named(text_at(*inner, "code")), text_at(*inner, "sentence"), text_at(*inner, "hint")};
}

json::object to_json(const bench::HostContext& host) {
  json::object out;
  out["facts"] = map_json(host.facts);
  json::array warnings;
  for (const std::string& warning : host.warnings) warnings.emplace_back(warning);
  out["warnings"] = std::move(warnings);
  json::array checks;
  for (const bench::Check& check : host.checks) {
    checks.emplace_back(json::object{{"name", check.name}, {"ok", check.ok}, {"sentence", check.sentence}, {"remedy", check.remedy}});
  }
  out["host_checks"] = std::move(checks);
  return out;
}

bench::HostContext host_from(const json::value& value) {
  bench::HostContext host;
  host.facts = map_from(value, "facts");
  const json::value* warnings = value.is_object() ? value.as_object().if_contains("warnings") : nullptr;
  if (warnings != nullptr && warnings->is_array()) {
    for (const json::value& warning : warnings->as_array()) {
      if (warning.is_string()) host.warnings.emplace_back(warning.as_string());
    }
  }
  const json::value* checks = value.is_object() ? value.as_object().if_contains("host_checks") : nullptr;
  if (checks != nullptr && checks->is_array()) {
    for (const json::value& check : checks->as_array()) {
      host.checks.push_back({text_at(check, "name"), flag_at(check, "ok"), text_at(check, "sentence"), text_at(check, "remedy")});
    }
  }
  return host;
}

json::object to_json(const Probe& probe) {
  json::object out;
  out["able"] = probe.able;
  out["reason"] = probe.reason;
  out["remedy"] = probe.remedy;
  out["emulated"] = probe.emulated;
  out["implementation"] = probe.implementation;
  out["accelerator"] = probe.accelerator;
  out["details"] = map_json(probe.details);
  return out;
}

json::array to_json(const std::vector<bench::BackendInfo>& backends) {
  json::array out;
  for (const bench::BackendInfo& backend : backends) {
    json::object one = to_json(backend.probe);
    one["name"] = backend.name;
    one["protections"] = map_json(backend.protections);
    one["missing"] = map_json(backend.missing);
    out.emplace_back(std::move(one));
  }
  return out;
}

std::vector<bench::BackendInfo> backends_from(const json::value& value) {
  std::vector<bench::BackendInfo> out;
  if (!value.is_array()) return out;
  for (const json::value& one : value.as_array()) {
    bench::BackendInfo info;
    info.name = text_at(one, "name");
    info.probe.able = flag_at(one, "able");
    info.probe.reason = text_at(one, "reason");
    info.probe.remedy = text_at(one, "remedy");
    info.probe.emulated = flag_at(one, "emulated");
    info.probe.implementation = text_at(one, "implementation");
    info.probe.accelerator = text_at(one, "accelerator");
    info.probe.details = map_from(one, "details");
    info.protections = map_from(one, "protections");
    info.missing = map_from(one, "missing");
    out.push_back(std::move(info));
  }
  return out;
}

json::object to_json(const bench::AgentCost& cost) {
  json::object out;
  out["cpu_seconds"] = cost.cpu_seconds;
  out["memory_bytes"] = cost.memory_bytes;
  out["wall_seconds"] = cost.wall_seconds;
  return out;
}

bench::AgentCost cost_from(const json::value& value) {
  return {number_at(value, "cpu_seconds"), number_at(value, "memory_bytes"), number_at(value, "wall_seconds")};
}

std::string text_at(const json::value& value, std::string_view key) {
  const json::value* found = value.is_object() ? value.as_object().if_contains(json::string_view(key.data(), key.size())) : nullptr;
  return found != nullptr && found->is_string() ? std::string(found->as_string()) : std::string();
}

double number_at(const json::value& value, std::string_view key) {
  const json::value* found = value.is_object() ? value.as_object().if_contains(json::string_view(key.data(), key.size())) : nullptr;
  return found != nullptr && found->is_number() ? found->to_number<double>() : 0.0;
}

json::value parse_json(std::string_view text) {
  json::error_code failed;
  json::value value = json::parse(json::string_view(text.data(), text.size()), failed);
  if (failed) throw Error(Code::internal, "not valid JSON: " + failed.message());
  return value;
}

std::string_view name(bench::Outcome outcome) {
  switch (outcome) {
    case bench::Outcome::ok: return "ok";
    case bench::Outcome::failed: return "failed";
    case bench::Outcome::canceled: return "canceled";
  }
  return "failed";
}

std::string utc_now() { return utc("%Y-%m-%dT%H:%M:%SZ"); }

std::string new_run_id() {
  std::random_device random;
  std::array<char, 8> tail{};
  std::snprintf(tail.data(), tail.size(), "-%04x", random() & 0xffffU);
  return utc("%Y%m%dT%H%M%S") + tail.data();
}

}  // namespace tare::agent
