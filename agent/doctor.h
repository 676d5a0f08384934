// SPDX-License-Identifier: Apache-2.0
// What this host can measure and what would spoil the numbers: findings in plain words, each with the command that mends it.
#pragma once

#include <boost/json/fwd.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/host.h"
#include "bench/runner.h"
#include "core/paths.h"

namespace tare::agent {

struct Check {
  enum class Verdict { ok, warn, fail };
  std::string name;  // a word of the metric's label: "root", "cgroup", "kvm"
  Verdict verdict = Verdict::ok;
  std::string sentence;
  std::string remedy;  // a command or a setting; empty when all is well
};

struct Examination {
  bench::HostContext host;
  std::vector<bench::BackendInfo> backends;
  std::vector<Check> checks;
  /// Every backend can run here.
  bool fit() const;
};

class BackendSet;

/// Checks that need no backend: root, namespaces, overlay, tun, tools, disk space, and what bench/host.h warns of.
std::vector<Check> host_checks(const Paths& paths, const bench::HostContext& host);
/// All of it. The first probe of the VM may take as long as its self-test.
Examination examine(const Paths& paths, const BackendSet& set);

boost::json::object to_json(const Examination& examination);
Examination examination_from(const boost::json::value& value);

}  // namespace tare::agent
