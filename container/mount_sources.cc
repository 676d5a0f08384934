// SPDX-License-Identifier: Apache-2.0
#include "container/mount_sources.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <sstream>

#include "container/user_namespace.h"
#include "core/error.h"
#include "core/files.h"
#include "core/id_range.h"
#include "core/mount_sources.h"

namespace tare::container {
namespace {

[[noreturn]] void fail(const std::string& who, const MountStep& step, const std::string& action, const std::string& hint = {}) {
  const int error = errno;
  throw Error(code_of_errno(error), who + ": mount " + step.target + ": " + errno_text(action + " " + step.source, error), hint);
}

MountSource source_of(const MountStep& step) {
  return {step.source, step.target, (step.flags & MS_RDONLY) != 0, (step.flags & MS_NOSUID) == 0, (step.flags & MS_NODEV) == 0};
}

/// A /dev with its device nodes, owned by `owner`; a file system of the host's, in which they work.
Fd make_dev(const MountStep& step, const MountPlan& plan, std::uint32_t owner, const std::string& who) {
  const auto check = [&](long result) {
    if (result < 0) fail(who, step, "make", errno == EPERM ? "run tare as root" : "");
  };
  const Fd context(::fsopen(step.type.c_str(), FSOPEN_CLOEXEC));
  check(context.get());
  const auto set = [&](const char* key, const std::string& value) {
    check(::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0));
  };
  set("source", step.source);
  std::istringstream options(step.options);
  for (std::string option; std::getline(options, option, ',');) {
    set(option.substr(0, option.find('=')).c_str(), option.substr(option.find('=') + 1));
  }
  set("uid", std::to_string(owner));
  set("gid", std::to_string(owner));
  check(::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0));
  Fd dev(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME));
  check(dev.get());
  for (const DeviceNode& device : plan.devices) {
    const std::string path = device.path.substr(std::string_view("/dev/").size());
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {  // /dev/net/tun
      const std::string directory = path.substr(0, slash);
      if (::mkdirat(dev.get(), directory.c_str(), 0755) != 0 && errno != EEXIST) check(-1);
      check(::fchownat(dev.get(), directory.c_str(), owner, owner, 0));
    }
    check(::mknodat(dev.get(), path.c_str(), device.mode, makedev(device.major, device.minor)));
    check(::fchmodat(dev.get(), path.c_str(), device.mode & 07777, 0));  // this process has a umask
    const auto mapped = [&](std::uint32_t id) { return owner + (id < kIdsEach ? id : 0); };
    check(::fchownat(dev.get(), path.c_str(), mapped(device.uid), mapped(device.gid), AT_SYMLINK_NOFOLLOW));
  }
  return dev;
}

}  // namespace

std::vector<DeviceNode> host_devices(const Workload& workload, const std::string& who) {
  std::vector<DeviceNode> devices;
  for (const std::string& path : workload.devices) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      const int error = errno;
      throw Error(code_of_errno(error), who + ": " + errno_text("device " + path, error),
                  "load the driver's module, or leave the device out");
    }
    if (!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode)) {
      throw Error(Code::invalid, who + ": " + path + " is no device node", "a file or directory is given to a workload by `mounts:`");
    }
    devices.push_back({path, status.st_mode, major(status.st_rdev), minor(status.st_rdev), status.st_uid, status.st_gid});
  }
  return devices;
}

std::vector<Fd> open_trees(const MountPlan& plan, const Paths& paths, const std::string& who, const OwnIds& ids) {
  std::vector<Fd> trees;
  for (const MountStep& step : plan.views) {
    if (!step.tree) continue;
    trees.push_back(step.type.empty() ? open_source(source_of(step), who) : make_dev(step, plan, ids.first, who));
  }
  for (const MountStep& step : plan.mounts) {
    if (!step.tree) continue;
    Fd tree = open_requested_source(source_of(step), paths, who);
    if (ids.user_namespace >= 0) map_ids(tree.get(), ids.user_namespace, AT_RECURSIVE, step.source);
    trees.push_back(std::move(tree));
  }
  return trees;
}

}  // namespace tare::container
