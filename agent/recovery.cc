// SPDX-License-Identifier: Apache-2.0
#include "agent/recovery.h"

#include <sys/mount.h>

#include <filesystem>
#include <sstream>

#include "agent/instance_record.h"
#include "core/bridge.h"
#include "core/error.h"
#include "core/files.h"
#include "core/id_range.h"
#include "core/instance_dir.h"
#include "core/link_removal.h"
#include "core/netlink.h"

namespace tare::agent {
namespace {

// Mount points at or below `directory`, the innermost first, so that each can go before the one it lies on.
std::vector<std::string> mounts_below(const std::filesystem::path& directory) {
  std::vector<std::string> found;
  std::istringstream lines(try_read_file("/proc/self/mountinfo").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string skipped;
    std::string point;
    fields >> skipped >> skipped >> skipped >> skipped >> point;
    if (point == directory.string() || point.starts_with(directory.string() + "/")) found.insert(found.begin(), point);
  }
  return found;
}

void remove_leftover(const Paths& paths, ControlGroups* groups, const std::string& id) {
  if (groups != nullptr) groups->remove_leftover(id);  // first: a living process would hold everything else
  const bridge::Settings bridge{{}, paths.network_lock()};
  if (auto member = bridge::Member::find(bridge, id)) member->remove();
  for (const char side : {'h', 'i', 't'}) rtnl::remove_links({netlink::interface_name(id, side)});
  const std::filesystem::path directory = paths.instances() / id;
  for (const std::string& point : mounts_below(directory)) ::umount2(point.c_str(), MNT_DETACH);
  remove_tree(directory);
}

// A record that cannot be read belongs to nobody.
bool is_kept_elsewhere(const Paths& paths, const std::string& id) {
  try {
    const auto record = read_record(paths.instances() / id);
    return record && record->started && record->run != std::filesystem::absolute(paths.run) && std::filesystem::exists(record->run);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

Swept sweep(const Paths& paths, ControlGroups* groups) {
  Swept out;
  for (const std::string& id : orphaned_instances(paths)) {
    if (is_kept_elsewhere(paths, id)) continue;
    try {
      remove_leftover(paths, groups, id);
      out.instances.push_back(id);
    } catch (const Error& e) {
      out.problems.push_back("instance " + id + ": " + e.what());
    }
  }
  IdRange::tidy(paths.id_ranges());
  try {
    bridge::tidy({{}, paths.network_lock()});
  } catch (const Error& e) {
    out.problems.push_back(std::string("bridge: ") + e.what());
  }
  return out;
}

}  // namespace tare::agent
