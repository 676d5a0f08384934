// SPDX-License-Identifier: Apache-2.0
#include "core/mount_sources.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>

#include "core/error.h"

namespace tare {
namespace {

[[noreturn]] void fail(const std::string& who, const MountSource& source, const std::string& action, const std::string& hint = {}) {
  const int error = errno;
  throw Error(code_of_errno(error), who + ": mount " + source.target + ": " + errno_text(action + " " + source.path, error), hint);
}

bool same(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

/// Who holds the agent's socket is root on this host; by inode, because a path can be written in many ways.
void refuse_our_own(int tree, const MountSource& source, const Paths& paths, const std::string& who) {
  struct stat found {};
  if (::fstat(tree, &found) != 0) fail(who, source, "look at");
  for (const auto& ours : {paths.state, paths.run, paths.instances(), paths.images(), paths.socket(), paths.run / "launcher.sock"}) {
    struct stat status {};
    if (::stat(ours.c_str(), &status) != 0 || !same(status, found)) continue;
    throw Error(Code::invalid, who + ": mount " + source.target + ": " + source.path + " is tare's own",
                "give the workload another directory");
  }
}

void make_volume(const MountSource& source, const Paths& paths, const std::string& who) {
  // Nobody but root passes: a volume may hold what a workload's root has made set-user-ID.
  if (::mkdir(paths.volumes().c_str(), 0700) != 0 && errno != EEXIST) fail(who, source, "make");
  if (::mkdir(source.path.c_str(), 0755) != 0 && errno != EEXIST) fail(who, source, "make");
}

}  // namespace

Fd open_source(const MountSource& source, const std::string& who) {
  Fd tree(::open_tree(AT_FDCWD, source.path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree) fail(who, source, "open", errno == ENOENT ? "make it on the host first" : "");
  mount_attr attributes{};
  if (source.read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  if (!source.set_ids) attributes.attr_set |= MOUNT_ATTR_NOSUID;
  if (!source.devices) attributes.attr_set |= MOUNT_ATTR_NODEV;
  attributes.propagation = MS_PRIVATE;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0) {
    fail(who, source, "set attributes of");
  }
  return tree;
}

Fd open_requested_source(const MountSource& source, const Paths& paths, const std::string& who) {
  if (source.path.starts_with(std::filesystem::absolute(paths.volumes()).string() + "/")) make_volume(source, paths, who);
  Fd tree = open_source(source, who);
  refuse_our_own(tree.get(), source, paths, who);
  return tree;
}

}  // namespace tare
