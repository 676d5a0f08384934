// SPDX-License-Identifier: Apache-2.0
#include "vm/kept.h"

#include <algorithm>
#include <boost/json.hpp>
#include <set>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "guest/protocol.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace json = boost::json;
namespace {

constexpr const char* kFile = "vm.json";
constexpr const char* kExitFile = "ended.json";

template <class Value, std::size_t Count>
Value named(std::string_view name, const std::string_view (&names)[Count]) {
  const auto found = std::find(std::begin(names), std::end(names), name);
  if (found == std::end(names)) throw Error(Code::failed, "'" + std::string(name) + "' is unknown");
  return static_cast<Value>(found - std::begin(names));
}

std::string text_at(const json::object& object, const char* key) { return std::string(object.at(key).as_string()); }

std::vector<std::string> texts_at(const json::object& object, const char* key) {
  return json::value_to<std::vector<std::string>>(object.at(key));
}

template <class Number>
Number number_at(const json::object& object, const char* key) {
  return object.at(key).to_number<Number>();
}

json::object to_json(const image::Image& image) {
  json::array layers;
  for (const fs::path& layer : image.layers) layers.emplace_back(layer.string());
  return {{"reference", image.reference},
          {"digest", image.digest},
          {"layers", layers},
          {"command", json::value_from(image.command)},
          {"environment", json::value_from(image.environment)},
          {"working_directory", image.working_directory}};
}

image::Image image_from(const json::object& object) {
  image::Image image;
  image.reference = text_at(object, "reference");
  image.digest = text_at(object, "digest");
  for (const std::string& layer : texts_at(object, "layers")) image.layers.emplace_back(layer);
  image.command = texts_at(object, "command");
  image.environment = texts_at(object, "environment");
  image.working_directory = text_at(object, "working_directory");
  return image;
}

json::object to_json(const Facts& facts) {
  return {{"release", facts.release},
          {"cpus", facts.cpus},
          {"nodes", facts.nodes},
          {"memory", facts.memory.count},
          {"flags", json::value_from(facts.flags)}};
}

Facts facts_from(const json::object& object) {
  return {text_at(object, "release"), number_at<unsigned>(object, "cpus"), number_at<unsigned>(object, "nodes"),
          Bytes{number_at<std::uint64_t>(object, "memory")}, json::value_to<std::set<std::string>>(object.at("flags"))};
}

json::object to_json(const Trait& trait) {
  return {{"name", trait.name}, {"text", trait.text}, {"missing", trait.missing}, {"remedy", trait.remedy}};
}

Trait trait_from(const json::object& object) {
  return {text_at(object, "name"), text_at(object, "text"), object.at("missing").as_bool(), text_at(object, "remedy")};
}

Kept kept_from(const json::object& object) {
  Kept kept;
  kept.run = text_at(object, "run");
  kept.token = text_at(object, "token");
  kept.image = image_from(object.at("image").as_object());
  kept.started_as = named<Start>(text_at(object, "started_as"), kStartNames);
  kept.confinement = text_at(object, "confinement");
  if (object.contains("first_id")) kept.first_id = number_at<std::uint32_t>(object, "first_id");
  kept.plan.accelerator = text_at(object, "accelerator") == name(Accelerator::kvm) ? Accelerator::kvm : Accelerator::tcg;
  kept.plan.profile = named<VmProfile>(text_at(object, "profile"), kVmProfileNames);
  kept.plan.vcpus = number_at<unsigned>(object, "vcpus");
  kept.plan.vcpu_pins = texts_at(object, "vcpu_pins");
  for (const json::value& trait : object.at("traits").as_array()) kept.plan.traits.push_back(trait_from(trait.as_object()));
  if (object.contains("host")) kept.plan.host = facts_from(object.at("host").as_object());
  if (object.contains("tap")) kept.plan.interface = Interface{text_at(object, "tap"), text_at(object, "mac")};
  kept.address = text_at(object, "address");
  kept.servers = texts_at(object, "servers");
  const json::object& marks = object.at("marks").as_object();
  for (const Mark mark : kKeptMarks) {
    if (const json::value* at = marks.if_contains(name(mark))) kept.marks[mark] = Instant{at->to_number<std::int64_t>()};
  }
  return kept;
}

}  // namespace

void keep(const Kept& kept, const InstanceDir& directory) {
  json::array traits;
  for (const Trait& trait : kept.plan.traits) traits.push_back(to_json(trait));
  json::object marks;
  for (const auto& [mark, at] : kept.marks) marks[name(mark)] = at.nanoseconds;
  json::object object = {{"version", guest::kVersion},
                         {"run", kept.run.string()},
                         {"token", kept.token},
                         {"image", to_json(kept.image)},
                         {"started_as", name(kept.started_as)},
                         {"confinement", kept.confinement},
                         {"accelerator", name(kept.plan.accelerator)},
                         {"profile", name(kept.plan.profile)},
                         {"vcpus", kept.plan.vcpus},
                         {"vcpu_pins", json::value_from(kept.plan.vcpu_pins)},
                         {"traits", traits},
                         {"address", kept.address},
                         {"servers", json::value_from(kept.servers)},
                         {"marks", marks}};
  if (kept.first_id) object["first_id"] = *kept.first_id;
  if (kept.plan.host) object["host"] = to_json(*kept.plan.host);
  if (kept.plan.interface) object["tap"] = kept.plan.interface->tap, object["mac"] = kept.plan.interface->mac;
  directory.write(kFile, json::serialize(object) + "\n");
}

void keep(const KeptExit& ended, const InstanceDir& directory) {
  directory.write(
      kExitFile, json::serialize(json::object{
                     {"code", ended.exit.code}, {"signaled", ended.exit.signaled}, {"oom", ended.exit.oom}, {"at", ended.at.nanoseconds}}) +
                     "\n");
}

std::optional<KeptExit> kept_exit(const fs::path& directory) {
  const auto text = try_read_file(directory / kExitFile);
  if (!text) return std::nullopt;
  try {
    const json::object object = json::parse(*text).as_object();
    return KeptExit{{number_at<int>(object, "code"), object.at("signaled").as_bool(), object.at("oom").as_bool()},
                    Instant{number_at<std::int64_t>(object, "at")}};
  } catch (const std::exception& error) {
    throw Error(Code::failed, (directory / kExitFile).string() + " is damaged: " + error.what());
  }
}

Kept kept(const fs::path& directory) {
  const fs::path file = directory / kFile;
  const auto text = try_read_file(file);
  if (!text) throw Error(Code::not_found, file.string() + " is missing: its start was not over");
  json::parse_options options;
  options.allow_invalid_utf8 = true;  // paths need not be UTF-8
  json::object object;
  try {
    object = json::parse(*text, {}, options).as_object();
    if (number_at<std::uint32_t>(object, "version") == guest::kVersion) return kept_from(object);
  } catch (const std::exception& error) {
    throw Error(Code::failed, file.string() + " is damaged: " + error.what());
  }
  throw Error(Code::conflict, file.string() + " is of another version of tare");
}

}  // namespace tare::vm
