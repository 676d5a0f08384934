// SPDX-License-Identifier: Apache-2.0
#include "agent/instance_json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <vector>

#include "agent/suggest.h"
#include "agent/wire.h"
#include "bench/suite.h"
#include "core/error.h"

namespace tare::agent {
namespace json = boost::json;
namespace {

std::string text_of_key(const json::value& value, const char* key) {
  if (!value.is_string()) throw Error(Code::invalid, std::string("'") + key + "' is no text");
  return std::string(value.as_string());
}

/// What sentences about it call the workload: its name, else the last word of its image.
std::string workload_name(const StartInstance& start, const json::value& workload) {
  if (!start.name.empty()) return start.name;
  const std::string image = text_at(workload, "image");
  const std::string last = image.substr(image.find_last_of("/:") + 1);
  return last.empty() ? "run" : last;
}

json::array list_json(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& item : list) out.emplace_back(item);
  return out;
}

// Seconds, bytes and counts under the names that samples have.
json::object usage_json(const Usage& usage) {
  json::object out;
  const auto seconds = [&](const char* key, const std::optional<std::chrono::nanoseconds>& value) {
    if (value) out[key] = std::chrono::duration<double>(*value).count();
  };
  const auto bytes = [&](const char* key, const std::optional<Bytes>& value) {
    if (value) out[key] = value->count;
  };
  const auto count = [&](const char* key, const std::optional<std::uint64_t>& value) {
    if (value) out[key] = *value;
  };
  seconds("cpu", usage.cpu), seconds("cpu_user", usage.cpu_user), seconds("cpu_system", usage.cpu_system);
  bytes("memory", usage.memory), bytes("memory_peak", usage.memory_peak), bytes("memory_pss", usage.memory_pss);
  bytes("io_read", usage.io_read), bytes("io_write", usage.io_write);
  count("io_reads", usage.io_reads), count("io_writes", usage.io_writes);
  bytes("network_receive", usage.network_receive), bytes("network_transmit", usage.network_transmit);
  count("switches_voluntary", usage.switches_voluntary), count("switches_involuntary", usage.switches_involuntary);
  count("processes", usage.processes), count("oom_kills", usage.oom_kills);
  seconds("vm_cpu_vcpu", usage.vm_cpu_vcpu), seconds("vm_cpu_emulator", usage.vm_cpu_emulator);
  seconds("vm_cpu_iothread", usage.vm_cpu_iothread), seconds("vm_cpu_vhost", usage.vm_cpu_vhost);
  seconds("vm_vcpu_delay", usage.vm_vcpu_delay);
  if (!usage.vm_exits.empty()) out["vm_exits"] = json::value_from(usage.vm_exits);
  seconds("guest_cpu", usage.guest_cpu), seconds("guest_steal", usage.guest_steal);
  bytes("guest_memory_used", usage.guest_memory_used), bytes("guest_memory_total", usage.guest_memory_total);
  bytes("guest_io_read", usage.guest_io_read), bytes("guest_io_write", usage.guest_io_write);
  count("guest_io_reads", usage.guest_io_reads), count("guest_io_writes", usage.guest_io_writes);
  bytes("guest_network_receive", usage.guest_network_receive), bytes("guest_network_transmit", usage.guest_network_transmit);
  return out;
}

json::object marks_json(const Timeline& timeline) {
  json::object out;
  for (std::size_t i = 0; i < kMarkCount; ++i) {
    const Mark mark = static_cast<Mark>(i);
    if (const auto seconds = timeline.seconds(mark)) out[tare::name(mark)] = *seconds;
  }
  return out;
}

json::object limits_json(const Limits& limits) {
  json::object out;
  if (limits.cpus) out["cpus"] = *limits.cpus;
  if (limits.memory) out["memory"] = limits.memory->count;
  if (limits.pids) out["pids"] = *limits.pids;
  return out;
}

std::string utc_text_of(std::int64_t nanoseconds) {
  const std::time_t seconds = nanoseconds / 1'000'000'000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char day[32];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%s.%09lldZ", day, static_cast<long long>(nanoseconds % 1'000'000'000));
  return text;
}

}  // namespace

json::object object_from(const std::string& body, const std::string& example) {
  json::error_code failed;
  json::value value = json::parse(body, failed);
  if (failed) throw Error(Code::invalid, "the body is no JSON: " + failed.message(), "send " + example);
  if (!value.is_object()) throw Error(Code::invalid, "the body is no JSON object", "send " + example);
  return std::move(value.as_object());
}

StartInstance start_instance_from(const std::string& body) {
  const json::object document = object_from(body, R"({"workload": {"image": "…"}})");
  static const std::vector<std::string> kKeys = {"backend", "name", "workload"};
  StartInstance start;
  start.text = body;
  const json::value* workload = nullptr;
  for (const auto& entry : document) {
    const std::string key(entry.key());
    if (key == "backend") {
      start.backend = text_of_key(entry.value(), "backend");
    } else if (key == "name") {
      start.name = text_of_key(entry.value(), "name");
    } else if (key == "workload") {
      workload = &entry.value();
    } else {
      throw Error(Code::invalid, "unknown key '" + key + "'" + did_you_mean(key, kKeys));
    }
  }
  if (workload == nullptr) throw Error(Code::invalid, "the body has no 'workload'", R"(send {"workload": {"image": "…"}})");
  // JSON is YAML too: a workload is read by the one table that reads the workloads of suites.
  start.workload = bench::load_workload(workload_name(start, *workload), json::serialize(*workload), "workload");
  return start;
}

// What a further process can be asked for is a part of a workload, and read by the same table.
ExecRequest exec_request_from(const std::string& body) {
  static const std::vector<std::string> kKeys = {"command", "user", "working_directory", "environment", "stdin", "tty", "terminal"};
  json::object document = object_from(body, R"({"command": ["ps"]})");
  for (const auto& entry : document) {
    const std::string key(entry.key());
    if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) {
      throw Error(Code::invalid, "unknown key '" + key + "'" + did_you_mean(key, kKeys));
    }
  }
  if (!document.contains("command")) throw Error(Code::invalid, "'command' is missing", R"(send {"command": ["ps"]})");
  document["image"] = "none";
  const Workload workload = bench::load_workload("exec", json::serialize(document), "exec");
  return {.command = workload.command,
          .user = workload.user,
          .working_directory = workload.working_directory,
          .environment = workload.environment,
          .open_stdin = workload.open_stdin,
          .tty = workload.tty,
          .terminal = workload.terminal};
}

json::object to_json(const Ending& ending) {
  json::object out;
  if (ending.exit) {
    out["status"] = ending.exit->status();
    if (ending.exit->signaled) out["signal"] = ending.exit->code;
    if (ending.exit->oom) out["oom"] = true;
  }
  if (!ending.sentence.empty()) out["sentence"] = ending.sentence;
  out["at"] = utc_text(ending.at);
  return out;
}

json::object summary_json(const LiveInstance& live) {
  json::object out;
  out["id"] = live.id();
  out["name"] = live.name();
  out["backend"] = live.backend();
  out["state"] = tare::name(live.state());
  out["image"] = live.workload().image;
  out["command"] = list_json(live.workload().command);
  out["attached"] = live.attached();
  out["created_at"] = utc_text(live.created_at());
  if (const auto ending = live.ending()) out["exit"] = to_json(*ending);
  return out;
}

json::object whole_json(const LiveInstance& live) {
  json::object out = summary_json(live);
  out["address"] = live.instance().address();
  out["start"] = tare::name(live.instance().started_as());
  out["marks"] = marks_json(live.timeline());
  out["usage"] = usage_json(live.instance().usage());
  out["limits"] = limits_json(live.workload().limits);
  json::object protections;
  for (const auto& [key, value] : live.instance().protections()) protections[key] = value;
  out["protections"] = std::move(protections);
  out["stdin"] = live.workload().open_stdin;
  out["tty"] = live.workload().tty;
  return out;
}

int signal_named(const std::string& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number > 0 && number <= SIGRTMAX) return number;
  const std::string word = text.starts_with("SIG") ? text.substr(3) : text;
  for (int candidate = 1; candidate < 32; ++candidate) {
    const char* abbreviation = ::sigabbrev_np(candidate);
    if (abbreviation != nullptr && word == abbreviation) return candidate;
  }
  throw Error(Code::invalid, "there is no signal '" + text + "'", "write TERM, SIGTERM or 15");
}

std::string utc_text(double unix_time) { return utc_text_of(static_cast<std::int64_t>(std::llround(unix_time * 1e9))); }

std::int64_t monotonic_epoch() {
  timespec wall{};
  ::clock_gettime(CLOCK_REALTIME, &wall);
  return std::int64_t{wall.tv_sec} * 1'000'000'000 + wall.tv_nsec - Instant::now().nanoseconds;
}

std::string utc_text(Instant at, std::int64_t epoch) { return utc_text_of(at.nanoseconds + epoch); }

}  // namespace tare::agent
