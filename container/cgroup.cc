// SPDX-License-Identifier: Apache-2.0
#include "container/cgroup.h"

#include <fcntl.h>

#include <mutex>

#include "container/devices.h"
#include "container/host_group.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// The programs that guard device files, loaded once for each list. Thread-safe.
class DeviceGuard {
 public:
  /// The program's descriptor; -1 where the v1 controller does it instead. Throws Error where nothing can.
  int program_for(const DeviceList& devices, const CgroupLayout& layout);
  void put_on(int program, int group_directory, const fs::path& parent);

 private:
  std::mutex mutex_;
  std::map<std::string, Fd> programs_;  // by the text for v1
  std::once_flag held_;
  Fd hold_;
};

// In the v2 tree of the hybrid layout too: one attachment, where the v1 controller is a further hierarchy to make, enter and remove.
int DeviceGuard::program_for(const DeviceList& devices, const CgroupLayout& layout) {
  if (layout.unified.empty()) return -1;
  const std::lock_guard lock(mutex_);
  Fd& program = programs_[device_writes(devices).back().value];
  if (program) return program.get();
  try {
    program = load_device_program(device_program(devices));
  } catch (const Error&) {
    if (layout.v1.contains("devices")) return -1;
    throw;
  }
  return program.get();
}

void DeviceGuard::put_on(int program, int group_directory, const fs::path& parent) {
  std::call_once(held_, [&] { hold_ = hold_device_check(open_file(parent, O_RDONLY | O_DIRECTORY).get()); });
  attach_device_program(program, group_directory);
}

class HostControlGroups final : public ControlGroups {
 public:
  std::string layout() const override { return tree_.layout().text(); }

  std::unique_ptr<ControlGroup> create(const std::string& id, const Limits& limits, const std::optional<DeviceList>& devices) override {
    const Limits given = resolve_devices(limits);
    auto writes = cgroup_writes(given, tree_.layout_for(given));
    const int program = devices ? guard_.program_for(*devices, tree_.layout()) : -1;
    if (devices && program < 0) {
      for (CgroupWrite& write : device_writes(*devices)) writes.push_back(std::move(write));
    }
    std::set<std::string> controllers = tree_.layout().accounting();
    for (const CgroupWrite& write : writes) controllers.insert(write.controller);
    const CgroupPaths paths = tree_.paths_of(id, controllers);
    try {
      make(id, controllers, writes);
      auto group = std::make_unique<HostControlGroup>(tree_, id, paths, given);
      if (program >= 0) guard_.put_on(program, group->directory_fd(), paths.unified.parent_path());
      return group;
    } catch (const Error& error) {
      remove_group(paths);
      throw;
    }
  }

  std::unique_ptr<ControlGroup> adopt(const std::string& id, const Limits& limits) override {
    CgroupPaths paths = tree_.paths_of(id);
    std::erase_if(paths.v1, [](const auto& entry) { return !fs::exists(entry.second); });
    const bool whole = paths.unified.empty() ? !paths.v1.empty() : fs::exists(paths.unified);
    if (!whole) throw Error(Code::not_found, std::string("control group ") + kParentGroup + "/" + id + " is gone");
    return std::make_unique<HostControlGroup>(tree_, id, std::move(paths), limits);
  }

  std::vector<std::string> ids() const override {
    std::set<std::string> found;
    for (const fs::path& mount : tree_.mounts()) {
      std::error_code missing;
      for (fs::directory_iterator entry(mount / kParentGroup, missing), end; !missing && entry != end; entry.increment(missing)) {
        if (entry->is_directory(missing)) found.insert(entry->path().filename());
      }
    }
    return {found.begin(), found.end()};
  }

  void remove_leftover(const std::string& id) override {
    const CgroupPaths paths = tree_.paths_of(id);
    if (!kill_group(paths, Deadline::in(10s))) {
      throw Error(Code::timeout, "processes in control group tare/" + id + " do not die",
                  "look at their state with: ps -o pid,stat,wchan,args");
    }
    tree_.remove(id);
    remove_group(paths);  // what libcgroup left
  }

 private:
  /// libcgroup does not say which of the writes failed: then each is tried by itself.
  void make(const std::string& id, const std::set<std::string>& controllers, const std::vector<CgroupWrite>& writes) {
    try {
      tree_.create(id, controllers, writes);
    } catch (const Error&) {
      for (const CgroupWrite& write : writes) {
        try {
          tree_.set(id, write);
        } catch (const Error& error) {
          throw limit_refused(std::string(kParentGroup) + "/" + id, write, error);
        }
      }
      throw;
    }
  }

  CgroupTree tree_;
  DeviceGuard guard_;
};

}  // namespace

std::unique_ptr<ControlGroups> make_control_groups() { return std::make_unique<HostControlGroups>(); }

}  // namespace tare::container
