// SPDX-License-Identifier: Apache-2.0
// What tare has on this host at one moment, read from the kernel's own lists and not from tare: so that a test can say "nothing left".
#pragma once

#include <ostream>
#include <set>
#include <string>

#include "core/paths.h"

namespace tare::test {

struct Census {
  std::set<std::string> control_groups;  // directories named tare, and what is below them, in every hierarchy
  std::set<std::string> interfaces;      // names that begin with "tare"
  std::set<std::string> rules;           // tables of the packet filter named tare, and the setting that the bridge changes
  std::set<std::string> mounts;          // mount points of this process' mount namespace
  std::set<std::string> instances;       // state/instances/*
  std::set<std::string> processes;       // in a control group of tare, or with an instance's directory on the command line
  std::set<std::string> programs;        // of this build: tare, as client or agent, and launchers of private agents
  std::set<std::string> temporary;       // what is unfinished or private, wherever tare makes such things
  bool operator==(const Census&) const = default;
};

Census census(const Paths& paths);
void PrintTo(const Census& census, std::ostream* out);

}  // namespace tare::test
