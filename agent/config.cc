// SPDX-License-Identifier: Apache-2.0
#include "agent/config.h"

#include <arpa/inet.h>
#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>
#include <vector>

#include "agent/suggest.h"
#include "core/error.h"
#include "core/files.h"
#include "core/ipv4.h"
#include "core/workload.h"

namespace tare::agent {
namespace {

using Setter = std::function<void(const YAML::Node&)>;
using Setters = std::map<std::string, Setter>;

class Reader {
 public:
  explicit Reader(std::string_view file_name) : file_name_(file_name) {}

  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& sentence, const std::string& hint = {}) const {
    const int line = mark.is_null() ? 1 : mark.line + 1;
    throw Error(Code::invalid, file_name_ + ":" + std::to_string(line) + ": " + sentence, hint);
  }

  void map(const YAML::Node& node, const std::string& what, const Setters& setters) const {
    if (!node.IsMap()) fail(node.Mark(), what + " must be a map of keys");
    std::vector<std::string> known;
    for (const auto& [key, setter] : setters) known.push_back(key);
    for (const auto& entry : node) {
      const auto key = entry.first.as<std::string>();
      const auto found = setters.find(key);
      if (found == setters.end()) fail(entry.first.Mark(), "unknown key '" + key + "'" + did_you_mean(key, known));
      found->second(entry.second);
    }
  }

  Setter number(const std::string& key, int low, int high, const std::function<void(int)>& set) const {
    return [this, key, low, high, set](const YAML::Node& node) {
      int value = 0;
      if (!node.IsScalar() || !YAML::convert<int>::decode(node, value) || value < low || value > high) {
        fail(node.Mark(), "'" + key + "' must be a number from " + std::to_string(low) + " to " + std::to_string(high));
      }
      set(value);
    };
  }

  Setter text(const std::string& key, const std::vector<std::string>& choices, std::string& target) const {
    return [this, key, choices, &target](const YAML::Node& node) {
      if (!node.IsScalar()) fail(node.Mark(), "'" + key + "' must be a text");
      target = node.Scalar();
      if (choices.empty()) return;
      for (const std::string& choice : choices) {
        if (choice == target) return;
      }
      std::string list;
      for (const std::string& choice : choices) list += (list.empty() ? "" : ", ") + choice;
      fail(node.Mark(), "'" + key + "' cannot be '" + target + "'" + did_you_mean(target, choices), "one of: " + list);
    };
  }

 private:
  std::string file_name_;
};

bool is_address(const std::string& text) {
  in6_addr scratch{};
  return ::inet_pton(AF_INET, text.c_str(), &scratch) == 1 || ::inet_pton(AF_INET6, text.c_str(), &scratch) == 1;
}

}  // namespace

Config load_config(const std::string& text, std::string_view file_name) {
  const Reader reader(file_name);
  Config config;
  YAML::Node root;
  try {
    root = YAML::Load(text);
  } catch (const YAML::ParserException& e) {
    reader.fail(e.mark, "not valid YAML: " + e.msg);
  }
  if (root.IsNull()) return config;
  const Setters vm = {
      {"connection", reader.text("connection", {}, config.vm.connection)},
      {"machine", reader.text("machine", {"microvm", "q35"}, config.vm.machine)},
      {"profile", reader.text("profile", {std::begin(kVmProfileNames), std::end(kVmProfileNames)}, config.vm.profile)},
      {"confinement", reader.text("confinement", {"hardened", "fast"}, config.vm.confinement)},
      {"cache", reader.text("cache", {"writeback", "writethrough", "none", "directsync", "unsafe"}, config.vm.cache)},
      {"accelerator", reader.text("accelerator", {"auto", "kvm", "tcg"}, config.vm.accelerator)},
  };
  const Setters top = {
      {"tcp_port", reader.number("tcp_port", 1, 65535, [&](int value) { config.tcp_port = static_cast<std::uint16_t>(value); })},
      {"tcp_address",
       [&](const YAML::Node& node) {
         const std::string written = node.IsScalar() ? node.Scalar() : "";
         if (!is_address(written)) {
           reader.fail(node.Mark(), "'tcp_address' is '" + written + "', which is no IP address",
                       "write one of this host's, or 0.0.0.0 for all of them");
         }
         config.tcp_address = written;
       }},
      {"event_streams", reader.number("event_streams", 1, 1000, [&](int value) { config.event_streams = value; })},
      {"parked", reader.number("parked", 1, 256, [&](int value) { config.parked = value; })},
      {"bridge_range",
       [&](const YAML::Node& node) {
         const std::string written = node.IsScalar() ? node.Scalar() : "";
         const auto range = ipv4::parse_range(written);
         if (!range || range->prefix < 8 || range->prefix > 29) {
           reader.fail(node.Mark(), "'bridge_range' is '" + written + "', which is no range of IPv4 addresses from /8 to /29",
                       "write the lowest address: 10.214.0.0/16");
         }
         config.bridge_range = written;
       }},
      {"log_level", reader.text("log_level", {"info", "warn", "error"}, config.log_level)},
      {"vm", [&](const YAML::Node& node) { reader.map(node, "'vm'", vm); }},
  };
  reader.map(root, "the file", top);
  return config;
}

Config find_config(const std::optional<std::filesystem::path>& path) {
  const std::filesystem::path standard = "/etc/tare/agent.yaml";
  std::error_code ignored;
  const bool has_standard = !path && std::filesystem::exists(standard, ignored);
  Config config;
  if (path || has_standard) {
    const std::filesystem::path file = path.value_or(standard);
    config = load_config(read_file(file), file.string());
  }
  config.paths = Paths::from_environment();
  return config;
}

}  // namespace tare::agent
