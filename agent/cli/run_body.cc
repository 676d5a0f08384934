// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/run_body.h"

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>

#include "core/error.h"

namespace tare::agent::cli {
namespace {

namespace json = boost::json;

json::object environment_json(const std::vector<std::string>& entries) {
  json::object out;
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    if (equals != std::string::npos) {
      out[name] = entry.substr(equals + 1);
    } else if (const char* own = std::getenv(name.c_str()); own != nullptr) {  // NOLINT(concurrency-mt-unsafe): one thread
      out[name] = own;
    }
  }
  return out;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (std::size_t from = 0;;) {
    const std::size_t to = text.find(at, from);
    parts.push_back(text.substr(from, to == std::string::npos ? to : to - from));
    if (to == std::string::npos) return parts;
    from = to + 1;
  }
}

/// "8080:80" as {"host": "8080", "port": "80"}.
json::object published_json(const std::string& pair) {
  const std::size_t colon = pair.find(':');
  if (colon == std::string::npos) throw Error(Code::usage, "'" + pair + "' is no published port", "write --publish 8080:80");
  return {{"host", pair.substr(0, colon)}, {"port", pair.substr(colon + 1)}};
}

/// A path of this host is bound, a name is a volume; "./x" is a path too.
void set_source(json::object& mount, const std::string& source) {
  const bool path = source.starts_with("/") || source.starts_with(".");
  if (!mount.contains("type")) mount["type"] = path ? "bind" : "volume";
  mount["source"] = source.starts_with(".") ? std::filesystem::absolute(source).lexically_normal().string() : source;
}

/// "SOURCE:TARGET[:ro|rw]".
json::object volume_json(const std::string& text) {
  const std::vector<std::string> parts = split(text, ':');
  const bool mode = parts.size() == 3 && (parts[2] == "ro" || parts[2] == "rw");
  if ((parts.size() != 2 && !mode) || parts[0].empty()) {
    throw Error(Code::usage, "'" + text + "' is no volume", "write --volume SOURCE:TARGET, and :ro behind it for read-only");
  }
  json::object mount = {{"target", parts[1]}};
  set_source(mount, parts[0]);
  if (mode && parts[2] == "ro") mount["read_only"] = true;
  return mount;
}

/// "type=bind,source=/x,target=/y,readonly" as docker has it.
json::object mount_json(const std::string& text) {
  json::object mount;
  std::string source;
  for (const std::string& part : split(text, ',')) {
    const std::size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const std::string value = equals == std::string::npos ? "true" : part.substr(equals + 1);
    if (key == "type") {
      mount["type"] = value;
    } else if (key == "source" || key == "src") {
      source = value;
    } else if (key == "target" || key == "dst" || key == "destination") {
      mount["target"] = value;
    } else if (key == "readonly" || key == "ro") {
      mount["read_only"] = value != "false" && value != "0";
    } else if (key == "size" || key == "tmpfs-size") {
      mount["size"] = value;
    } else {
      throw Error(Code::usage, "'" + key + "' says nothing about a mount", "write type, source, target, readonly or size");
    }
  }
  if (!source.empty()) set_source(mount, source);
  return mount;
}

/// "TARGET[:size=64MiB][,ro]".
json::object tmpfs_json(const std::string& text) {
  const std::size_t colon = text.find(':');
  json::object mount = {{"type", "tmpfs"}, {"target", text.substr(0, colon)}};
  if (colon == std::string::npos) return mount;
  for (const std::string& option : split(text.substr(colon + 1), ',')) {
    if (option == "ro") {
      mount["read_only"] = true;
    } else if (option.starts_with("size=")) {
      mount["size"] = option.substr(5);
    } else if (option != "rw") {
      throw Error(Code::usage, "'" + option + "' says nothing about a tmpfs", "write --tmpfs TARGET:size=64MiB,ro");
    }
  }
  return mount;
}

json::object ulimits_json(const std::vector<std::string>& list) {
  json::object out;
  for (const std::string& limit : list) {
    const std::size_t equals = limit.find('=');
    if (equals == std::string::npos) throw Error(Code::usage, "'" + limit + "' is no limit", "write --ulimit nofile=1024:4096");
    out[limit.substr(0, equals)] = limit.substr(equals + 1);
  }
  return out;
}

json::array list_json(const std::vector<std::string>& words) {
  json::array out;
  for (const std::string& word : words) out.emplace_back(word);
  return out;
}

void set_text(json::object& out, const char* key, const std::string& value) {
  if (!value.empty()) out[key] = value;
}

void set_list(json::object& out, const char* key, json::array list) {
  if (!list.empty()) out[key] = std::move(list);
}

/// What a workload and a further process have in common.
json::object process_json(const RunOptions& run, const std::optional<TerminalSize>& size) {
  json::object out;
  set_list(out, "command", list_json(run.command));
  if (!run.environment.empty()) out["environment"] = environment_json(run.environment);
  set_text(out, "working_directory", run.working_directory);
  set_text(out, "user", run.user);
  if (run.interactive) out["stdin"] = true;
  if (run.tty) out["tty"] = true;
  if (run.tty && size) out["terminal"] = json::object{{"rows", size->rows}, {"columns", size->columns}};
  return out;
}

json::array mounts_json(const RunOptions& run) {
  json::array mounts;
  for (const std::string& text : run.volumes) mounts.push_back(volume_json(text));
  for (const std::string& text : run.mounts) mounts.push_back(mount_json(text));
  for (const std::string& text : run.tmpfs) mounts.push_back(tmpfs_json(text));
  return mounts;
}

}  // namespace

std::string run_body(const RunOptions& run, const std::optional<TerminalSize>& size) {
  json::object workload = process_json(run, size);
  workload["image"] = run.image;
  set_text(workload, "hostname", run.hostname);
  set_text(workload, "network", run.network);
  set_list(workload, "dns", list_json(run.dns));
  json::array ports;
  for (const std::string& pair : run.publish) ports.push_back(published_json(pair));
  set_list(workload, "publish", std::move(ports));
  set_text(workload, "security", run.security);
  set_text(workload, "userns", run.userns);
  set_text(workload, "start", run.start);
  if (!run.vm_profile.empty()) workload["vm"] = json::object{{"profile", run.vm_profile}};
  set_text(workload, "stop_grace", run.stop_grace);
  set_text(workload, "umask", run.umask);
  if (!run.ulimits.empty()) workload["ulimits"] = ulimits_json(run.ulimits);
  set_list(workload, "mounts", mounts_json(run));
  set_list(workload, "devices", list_json(run.devices));
  if (run.read_only) workload["read_only_root"] = true;
  if (run.init) workload["init"] = true;
  json::object limits;
  set_text(limits, "memory", run.memory);
  set_text(limits, "cpus", run.cpus);
  set_text(limits, "pids", run.pids);
  if (!limits.empty()) workload["limits"] = std::move(limits);
  json::object out;
  out["backend"] = run.backend;
  set_text(out, "name", run.name);
  out["workload"] = std::move(workload);
  return json::serialize(out);
}

std::string exec_body(const RunOptions& run, const std::optional<TerminalSize>& size) { return json::serialize(process_json(run, size)); }

}  // namespace tare::agent::cli
