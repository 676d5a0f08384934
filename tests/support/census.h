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
  std::set<std::string> id_ranges;       // of the host's ids, that instances with a user namespace have
  std::set<std::string> instances;       // state/instances/*
  std::set<std::string> processes;       // in a control group of tare, or with an instance's or libvirt's directory on the command line
  std::set<std::string> programs;        // of this build: tare, as client or agent, its guard, and launchers of private agents
  std::set<std::string> temporary;       // what is unfinished or private, wherever tare makes such things
  std::set<std::string> records;         // of libvirt's embedded driver: domains, and QEMUs that it asks; it needs 200 ms to see an end
  bool operator==(const Census&) const = default;
};

Census census(const Paths& paths);
/// The same, but libvirt has two seconds for its records to be as they were before.
Census settled_census(const Paths& paths, const Census& before);
void PrintTo(const Census& census, std::ostream* out);

}  // namespace tare::test
