// SPDX-License-Identifier: Apache-2.0
#include "bench/suite_workload.h"

#include <algorithm>

#include "bench/suite_limits.h"
#include "core/ipv4.h"
#include "core/mount_rules.h"
#include "core/words.h"

namespace tare::bench {
namespace {

using yaml::Map;
using yaml::Value;

constexpr const char* kPublishForm = "write publish: [{host: 8080, port: 80}]";

std::uint16_t port_of(const Value& value) { return static_cast<std::uint16_t>(value.integer(1, 65535)); }

std::vector<std::string> command_of(const Value& value) {
  if (value.is_text())
    value.fail("'" + value.what() + "' is one text and should be a list", "write command: [program, argument]; no shell is involved");
  std::vector<std::string> command = value.texts();
  if (command.empty() || command.front().empty()) value.fail("'" + value.what() + "' names no program");
  return command;
}

std::vector<std::string> environment_of(const Value& value) {
  std::vector<std::string> out;
  for (const auto& [key, entry] : value.entries()) {
    if (key.empty() || key.find_first_of("=\n") != std::string::npos)
      entry.fail(yaml::quoted(key) + " is no name of an environment variable");
    out.push_back(key + "=" + entry.text());
  }
  return out;
}

Mount mount_of(const Value& value) {
  Mount mount;
  Map map(value);
  const Value type = map.require("type", "write mounts: [{type: volume, source: NAME, target: /data}]");
  mount.type = static_cast<Mount::Type>(choice(type, {"bind", "volume", "tmpfs"}, "type of mount"));
  if (const auto source = map.take("source")) mount.source = source->text();
  mount.target = map.require("target", "write target: /data").text();
  if (const auto read_only = map.take("read_only")) mount.read_only = read_only->truth();
  if (const auto size = map.take("size")) mount.size = size->bytes();
  map.finish();
  if (const std::string fault = fault_of(mount); !fault.empty()) value.fail(fault);
  return mount;
}

std::vector<Mount> mounts_of(const Value& value) {
  std::vector<Mount> mounts;
  for (const Value& item : value.items()) {
    Mount mount = mount_of(item);
    for (const Mount& other : mounts) {
      if (other.target == mount.target) item.fail("two mounts have the target '" + mount.target + "'");
    }
    mounts.push_back(std::move(mount));
  }
  if (mounts.size() > kMostMounts) value.fail("'mounts' has more than " + std::to_string(kMostMounts) + " entries");
  return mounts;
}

std::vector<std::string> devices_of(const Value& value) {
  std::vector<std::string> devices;
  for (const Value& item : value.items()) {
    devices.push_back(item.text());
    if (const std::string fault = fault_of_device(devices.back()); !fault.empty()) item.fail(fault);
    if (std::count(devices.begin(), devices.end(), devices.back()) > 1) item.fail("the device '" + devices.back() + "' stands there twice");
  }
  return devices;
}

std::vector<Namespace> namespaces_of(const Value& value) {
  std::vector<Namespace> spaces;
  for (const Value& item : value.items()) {
    spaces.push_back(static_cast<Namespace>(choice(item, {std::begin(kNamespaceNames), std::end(kNamespaceNames)}, "namespace")));
    if (std::count(spaces.begin(), spaces.end(), spaces.back()) > 1) item.fail(item.described() + " stands there twice");
  }
  return spaces;
}

std::vector<Publish> publish_of(const Value& value) {
  std::vector<Publish> ports;
  for (const Value& entry : value.items()) {
    if (!entry.is_map()) entry.fail("'" + entry.what() + "' is " + entry.described() + ", which is no published port", kPublishForm);
    Map map(entry);
    ports.push_back({port_of(map.require("host", kPublishForm)), port_of(map.require("port", kPublishForm))});
    map.finish();
    const auto same = [&](const Publish& other) { return other.host == ports.back().host; };
    if (std::count_if(ports.begin(), ports.end(), same) > 1)
      entry.fail("port " + std::to_string(ports.back().host) + " of the host stands there twice");
  }
  return ports;
}

std::vector<std::string> dns_of(const Value& value) {
  std::vector<std::string> servers = value.texts();
  for (const std::string& server : servers) {
    if (!ipv4::parse(server)) value.fail("'" + value.what() + "' has " + yaml::quoted(server) + ", which is no IPv4 address");
  }
  return servers;
}

/// Said or not: a port that is published lies on the bridge, one that is listened on is reached by a link.
Network network_of(const std::optional<Value>& said, const Workload& w) {
  constexpr Network kNetworks[] = {Network::none, Network::link, Network::bridge, Network::host};
  if (said) return kNetworks[choice(*said, {"none", "link", "bridge", "host"}, "network")];
  return !w.publish.empty() ? Network::bridge : !w.ports.empty() ? Network::link : Network::none;
}

TerminalSize terminal_of(const Value& value) {
  TerminalSize size;
  Map map(value);
  size.rows = static_cast<std::uint16_t>(map.require("rows", "write terminal: {rows: 24, columns: 80}").integer(1, 65535));
  size.columns = static_cast<std::uint16_t>(map.require("columns", "write terminal: {rows: 24, columns: 80}").integer(1, 65535));
  map.finish();
  return size;
}

LogLimits log_of(const Value& value) {
  LogLimits log;
  Map map(value);
  if (const auto size = map.take("max_size")) {
    log.max_size = size->bytes();
    if (log.max_size < 64_KiB) size->fail("'" + size->what() + "' is " + text_of(log.max_size) + " and should be at least 64 KiB");
  }
  if (const auto files = map.take("max_files")) log.max_files = static_cast<int>(files->integer(1, 1000));
  map.finish();
  return log;
}

std::optional<VmProfile> vm_profile_of(const Value& value) {
  Map map(value);
  const auto profile = map.take("profile");
  map.finish();
  if (!profile) return std::nullopt;
  return static_cast<VmProfile>(choice(*profile, {std::begin(kVmProfileNames), std::end(kVmProfileNames)}, "profile of a VM"));
}

unsigned umask_of(const Value& value) {
  const std::string text = value.is_text() ? value.text() : std::string();
  if (text.empty() || text.size() > 4 || text.find_first_not_of("01234567") != std::string::npos || std::stoul(text, nullptr, 8) > 0777)
    value.fail("'umask' is " + value.described() + " and should be from 000 to 777", "write octal digits, as umask: 027");
  return static_cast<unsigned>(std::stoul(text, nullptr, 8));
}

std::uint64_t bound_of(const Value& value, const std::string& text) {
  if (text == "unlimited" || text == "-1") return kNoLimit;
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos)
    value.fail(yaml::quoted(value.text()) + " is no limit", "write SOFT:HARD, or one number for both, or unlimited");
  return std::stoull(text);
}

std::vector<Ulimit> ulimits_of(const Value& value) {
  std::vector<std::string> names;
  for (const UlimitName& row : kUlimitNames) names.emplace_back(row.name);
  std::vector<Ulimit> limits;
  for (const auto& [name, entry] : value.entries()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      const std::string near = nearest_word(name, names);
      entry.fail(yaml::quoted(name) + " is no resource limit" + (near.empty() ? "" : " (did you mean '" + near + "'?)"),
                 "write " + listed(names, "or"));
    }
    const std::string text = entry.text();
    const std::size_t colon = text.find(':');
    const Ulimit limit{name, bound_of(entry, text.substr(0, colon)),
                       bound_of(entry, text.substr(colon == std::string::npos ? 0 : colon + 1))};
    if (limit.soft > limit.hard) entry.fail("the soft limit of '" + name + "' is above the hard one", "write SOFT:HARD");
    limits.push_back(limit);
  }
  return limits;
}

Ready http_of(const Value& value) {
  Ready ready{.kind = Ready::Kind::http, .port = 0, .path = "/", .pattern = {}, .command = {}};
  Map map(value);
  ready.port = port_of(map.require("port", "write ready: {http: {port: 8080, path: /}}"));
  if (const auto path = map.take("path")) ready.path = path->text();
  map.finish();
  // What goes into the request line as it stands must not be able to end it.
  const bool clean = ready.path.find_first_of(" \r\n\t") == std::string::npos;
  if (ready.path.empty() || ready.path.front() != '/' || !clean)
    value.fail(yaml::quoted(ready.path) + " is no path of a URL", "begin it with '/', without spaces");
  return ready;
}

Ready ready_of(const Value& value) {
  static const std::string kForms = "write exit, executed, {log: text}, {tcp: 8080}, {http: {port: 8080, path: /}} or {exec: [program]}";
  Ready ready;
  if (!value.is_map()) {
    const std::string word = value.is_text() ? value.text() : std::string();
    if (word != "exit" && word != "executed") value.fail("'ready' is " + value.described() + ", which is no probe", kForms);
    ready.kind = word == "exit" ? Ready::Kind::exit : Ready::Kind::executed;
    return ready;
  }
  Map map(value);
  const auto log = map.take("log");
  const auto tcp = map.take("tcp");
  const auto http = map.take("http");
  const auto exec = map.take("exec");
  map.finish();
  if (int{log.has_value()} + int{tcp.has_value()} + int{http.has_value()} + int{exec.has_value()} != 1)
    value.fail("'ready' should have exactly one probe", kForms);
  if (http) return http_of(*http);
  if (tcp) {
    ready.kind = Ready::Kind::tcp;
    ready.port = port_of(*tcp);
  } else if (log) {
    ready.kind = Ready::Kind::log;
    ready.pattern = log->text();
    if (ready.pattern.empty()) log->fail("'ready.log' is empty, which every line contains");
  } else {
    ready.kind = Ready::Kind::exec;
    ready.command = command_of(*exec);
  }
  return ready;
}

}  // namespace

void check_name(const std::string& name, const Value& place) {
  constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::string_view kRest = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
  if (!name.empty() && name.size() <= 63 && kFirst.find(name[0]) != std::string_view::npos &&
      name.find_first_not_of(kRest) == std::string::npos) {
    return;
  }
  place.fail(yaml::quoted(name) + " is not a name", "use a-z, 0-9, '_', '.' and '-', a letter or digit first, at most 63 in all");
}

std::size_t choice(const Value& value, const std::vector<std::string>& words, const std::string& what) {
  const std::string word = value.is_text() ? value.text() : std::string();
  const auto found = std::find(words.begin(), words.end(), word);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  const std::string near = nearest_word(word, words);
  value.fail(value.described() + " is no " + what + (near.empty() ? "" : " (did you mean '" + near + "'?)"),
             "write " + listed(words, "or"));
}

std::chrono::nanoseconds positive(const Value& value) {
  const auto duration = value.duration();
  if (duration <= std::chrono::nanoseconds(0)) value.fail("'" + value.what() + "' is " + value.described() + " and should be more than 0");
  return duration;
}

Start start_of(const Value& value) { return static_cast<Start>(choice(value, {std::begin(kStartNames), std::end(kStartNames)}, "start")); }

Workload workload_of(const std::string& name, const Value& value, Places::OfWorkload& place) {
  Workload w;
  w.name = name;
  Map map(value);
  w.image = map.require("image", "write image: tare/probe, or another image reference").text();
  if (w.image.empty()) value.fail("workload '" + name + "' has an empty image reference");
  if (const auto command = map.take("command")) w.command = command_of(*command);
  if (const auto environment = map.take("environment")) w.environment = environment_of(*environment);
  if (const auto directory = map.take("working_directory")) {
    w.working_directory = directory->text();
    if (w.working_directory.empty() || w.working_directory.front() != '/')
      directory->fail("working_directory is " + directory->described() + " and should begin with '/'");
  }
  if (const auto hostname = map.take("hostname")) {
    w.hostname = hostname->text();
    check_name(w.hostname, *hostname);
  }
  if (const auto log = map.take("log")) w.log = log_of(*log);
  if (const auto user = map.take("user")) {
    w.user = user->text();
    if (w.user.empty()) user->fail("'user' is empty", "write user: name, or user: 1000:1000");
  }
  if (const auto open = map.take("stdin")) w.open_stdin = open->truth();
  if (const auto tty = map.take("tty")) w.tty = tty->truth();
  if (const auto size = map.take("terminal")) w.terminal = terminal_of(*size);
  if (const auto init = map.take("init")) w.init = init->truth();
  if (const auto mask = map.take("umask")) w.umask = umask_of(*mask);
  if (const auto ulimits = map.take("ulimits")) w.ulimits = ulimits_of(*ulimits);
  if (const auto limits = map.take("limits")) w.limits = limits_of(*limits);
  place.ports = map.take("ports");
  if (place.ports) {
    for (const Value& port : place.ports->items()) {
      w.ports.push_back(port_of(port));
      if (std::count(w.ports.begin(), w.ports.end(), w.ports.back()) > 1)
        port.fail("port " + std::to_string(w.ports.back()) + " stands there twice");
    }
  }
  place.network = map.take("network");
  const auto publish = map.take("publish");
  if (publish) w.publish = publish_of(*publish);
  w.network = network_of(place.network, w);
  if (!w.publish.empty() && w.network != Network::bridge) {
    publish->fail(
        "workload '" + name + "' publishes port " + std::to_string(w.publish[0].host) + " of the host, which only `network: bridge` can",
        "set `network: bridge`, or remove `publish`");
  }
  if (const auto dns = map.take("dns")) w.dns = dns_of(*dns);
  if (const auto security = map.take("security")) {
    constexpr Security kChoices[] = {Security::standard, Security::strict, Security::none};
    w.security = kChoices[choice(*security, {"standard", "strict", "none"}, "security")];
  }
  if (const auto mounts = map.take("mounts")) w.mounts = mounts_of(*mounts);
  if (const auto read_only = map.take("read_only_root")) w.read_only_root = read_only->truth();
  if (const auto spaces = map.take("host_namespaces")) w.host_namespaces = namespaces_of(*spaces);
  if (const auto userns = map.take("userns")) {
    constexpr Userns kChoices[] = {Userns::host, Userns::automatic};
    w.userns = kChoices[choice(*userns, {"host", "auto"}, "userns")];
  }
  if (const auto devices = map.take("devices")) w.devices = devices_of(*devices);
  if (const auto start = map.take("start")) w.start = start_of(*start);
  if (const auto vm = map.take("vm")) w.vm_profile = vm_profile_of(*vm);
  place.ready = map.take("ready");
  if (place.ready) w.ready = ready_of(*place.ready);
  if (const auto timeout = map.take("start_timeout")) w.start_timeout = positive(*timeout);
  if (const auto grace = map.take("stop_grace")) w.stop_grace = grace->duration();
  map.finish();
  return w;
}

}  // namespace tare::bench
