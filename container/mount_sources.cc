// SPDX-License-Identifier: Apache-2.0
#include "container/mount_sources.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

[[noreturn]] void fail(const std::string& who, const MountStep& step, const std::string& action, const std::string& hint = {}) {
  const int error = errno;
  throw Error(code_of_errno(error), who + ": mount " + step.target + ": " + errno_text(action + " " + step.source, error), hint);
}

bool same(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

/// Who holds the agent's socket is root on this host; by inode, because a path can be written in many ways.
void refuse_our_own(int tree, const MountStep& step, const Paths& paths, const std::string& who) {
  struct stat source {};
  if (::fstat(tree, &source) != 0) fail(who, step, "look at");
  for (const auto& ours : {paths.state, paths.run, paths.instances(), paths.images(), paths.socket(), paths.run / "launcher.sock"}) {
    struct stat status {};
    if (::stat(ours.c_str(), &status) != 0 || !same(status, source)) continue;
    throw Error(Code::invalid, who + ": mount " + step.target + ": " + step.source + " is tare's own",
                "give the workload another directory");
  }
}

void set_attributes(int tree, const MountStep& step, const std::string& who) {
  mount_attr attributes{};
  if ((step.flags & MS_RDONLY) != 0) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  if ((step.flags & MS_NOSUID) != 0) attributes.attr_set |= MOUNT_ATTR_NOSUID;
  if ((step.flags & MS_NODEV) != 0) attributes.attr_set |= MOUNT_ATTR_NODEV;
  attributes.propagation = MS_PRIVATE;
  if (::mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0) fail(who, step, "set attributes of");
}

void make_volume(const MountStep& step, const Paths& paths, const std::string& who) {
  // Nobody but root passes: a volume may hold what a workload's root has made set-user-ID.
  if (::mkdir(paths.volumes().c_str(), 0700) != 0 && errno != EEXIST) fail(who, step, "make");
  if (::mkdir(step.source.c_str(), 0755) != 0 && errno != EEXIST) fail(who, step, "make");
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

std::vector<Fd> open_trees(const MountPlan& plan, const Paths& paths, const std::string& who) {
  std::vector<Fd> trees;
  for (const MountStep& step : plan.mounts) {
    if (!step.tree) continue;
    if (step.source.starts_with(std::filesystem::absolute(paths.volumes()).string() + "/")) make_volume(step, paths, who);
    Fd tree(::open_tree(AT_FDCWD, step.source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
    if (!tree) fail(who, step, "open", errno == ENOENT ? "make it on the host first" : "");
    refuse_our_own(tree.get(), step, paths, who);
    set_attributes(tree.get(), step, who);
    trees.push_back(std::move(tree));
  }
  return trees;
}

}  // namespace tare::container
