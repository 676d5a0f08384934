// SPDX-License-Identifier: Apache-2.0
#include "core/resolver.h"

#include <sstream>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "core/ipv4.h"

namespace tare {
namespace {

struct HostFile {
  std::vector<std::string> servers;
  std::string rest;  // search, options …
};

HostFile parse(const std::string& text) {
  HostFile file;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key, value;
    words >> key >> value;
    if (key == "nameserver") {
      file.servers.push_back(value);
    } else if (key == "search" || key == "domain" || key == "options") {
      file.rest += line + "\n";
    }
  }
  return file;
}

/// A server that an instance on the bridge reaches: the bridge has no IPv6, and its loopback is not the host's.
bool is_reached(const std::string& server) {
  const auto address = ipv4::parse(server);
  return address && *address >> 24 != 127;
}

std::vector<std::string> reached(const std::vector<std::string>& servers) {
  std::vector<std::string> out;
  for (const std::string& server : servers) {
    if (is_reached(server)) out.push_back(server);
  }
  return out;
}

std::string lines_of(const std::vector<std::string>& servers) {
  std::string text;
  for (const std::string& server : servers) text += "nameserver " + server + "\n";
  return text;
}

}  // namespace

Resolver resolver_of(const Workload& workload, bool shares_host, const std::string& host, const std::string& upstream) {
  const HostFile file = parse(host);
  if (!workload.dns.empty()) return {lines_of(workload.dns) + file.rest, ""};
  if (shares_host) return {host, ""};
  if (workload.network != Network::bridge) return {};  // loopback or a link alone leads to no name server
  auto servers = reached(file.servers);
  if (servers.empty()) servers = reached(parse(upstream).servers);
  if (!servers.empty()) return {lines_of(servers) + file.rest, ""};
  std::string named;
  for (const std::string& server : file.servers) named += (named.empty() ? "" : ", ") + server;
  return {"",
          named.empty() ? "the host has no name server" : "the host's name server " + named + " is not reached from the bridge; set dns"};
}

Resolver resolver_of(const Workload& workload, bool shares_host) {
  const std::string host = try_read_file("/etc/resolv.conf").value_or("");
  std::string upstream;
  if (workload.network == Network::bridge && reached(parse(host).servers).empty()) {
    // systemd-resolved's and NetworkManager's.
    for (const char* file : {"/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"}) {
      upstream += try_read_file(file).value_or("");
    }
  }
  return resolver_of(workload, shares_host, host, upstream);
}

}  // namespace tare
