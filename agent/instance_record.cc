// SPDX-License-Identifier: Apache-2.0
#include "agent/instance_record.h"

#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>

#include "agent/instance_json.h"
#include "agent/wire.h"
#include "core/error.h"
#include "core/files.h"
#include "core/instance_dir.h"

namespace tare::agent {
namespace json = boost::json;
namespace {

constexpr const char* kIntent = "instance.json";
constexpr const char* kStart = "started.json";
constexpr const char* kEnd = "exit.json";

// As a text: JSON's reader may be off by the last bit of a number.
std::string exact(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

std::optional<Instant> instant_at(const json::value& value, const char* key) {
  const json::value* found = value.as_object().if_contains(key);
  return found != nullptr && found->is_int64() ? std::optional(Instant{found->as_int64()}) : std::nullopt;
}

Ending ending_from(const json::value& value) {
  Ending ending;
  const json::object& object = value.as_object();
  if (const json::value* code = object.if_contains("code")) {
    ending.exit = Exit{static_cast<int>(code->as_int64()), object.at("signaled").as_bool(), object.at("oom").as_bool()};
  }
  ending.sentence = text_at(value, "sentence");
  ending.at = std::strtod(text_at(value, "at").c_str(), nullptr);
  return ending;
}

}  // namespace

void record_intent(const std::filesystem::path& directory, const std::filesystem::path& run, const LiveInstance& live) {
  const json::object record = {{"run", std::filesystem::absolute(run).string()},
                               {"created_at", exact(live.created_at())},
                               {"attached", live.attached()},      // then it ends with its agent, which holds its client
                               {"request", live.request().text}};  // as it came: the same reader reads it again
  write_beside(directory, kIntent, json::serialize(record) + "\n");
}

void record_start(const std::filesystem::path& directory, const Timeline& timeline) {
  json::object record;
  for (const Mark mark : {Mark::requested, Mark::prepared}) {
    if (const auto at = timeline.at(mark)) record[tare::name(mark)] = at->nanoseconds;
  }
  write_beside(directory, kStart, json::serialize(record) + "\n");
}

void record_end(const std::filesystem::path& directory, const Ending& ending) {
  json::object record = {{"sentence", ending.sentence}, {"at", exact(ending.at)}};
  if (ending.exit) {
    record["code"] = ending.exit->code;
    record["signaled"] = ending.exit->signaled;
    record["oom"] = ending.exit->oom;
  }
  write_beside(directory, kEnd, json::serialize(record) + "\n");
}

std::optional<InstanceRecord> read_record(const std::filesystem::path& directory) {
  const auto intent = try_read_file(directory / kIntent);
  if (!intent) return std::nullopt;
  try {
    const json::value value = parse_json(*intent);
    InstanceRecord record;
    record.run = text_at(value, "run");
    record.created_at = std::strtod(text_at(value, "created_at").c_str(), nullptr);
    record.start = start_instance_from(text_at(value, "request"));
    if (const json::value* attached = value.as_object().if_contains("attached")) record.start.attached = attached->as_bool();
    if (const auto started = try_read_file(directory / kStart)) {
      const json::value marks = parse_json(*started);
      record.started = true;
      record.requested = instant_at(marks, "requested");
      record.prepared = instant_at(marks, "prepared");
    }
    if (const auto end = try_read_file(directory / kEnd)) record.ending = ending_from(parse_json(*end));
    return record;
  } catch (const std::exception& e) {  // NOLINT: Boost.JSON's own too
    throw Error(Code::invalid, "the record in " + directory.string() + " cannot be read: " + e.what());
  }
}

}  // namespace tare::agent
