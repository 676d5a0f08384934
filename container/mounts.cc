// SPDX-License-Identifier: Apache-2.0
// The image decides what lies at a mount's target, and who shares a volume may change it while we look. So no path is trusted: every
// target is opened below the root's descriptor, and mounted onto by that descriptor.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "container/child.h"
#include "core/fd.h"

namespace tare::container::mounts {
namespace {

// What the kernel shows us and what is ours has no links; an image may have some on the way to a target of the workload's.
constexpr std::uint64_t kNoLinks = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
constexpr std::uint64_t kLinksInside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

Fd open_below(int root, const char* path, std::uint64_t flags, std::uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_PATH | O_CLOEXEC;
  how.resolve = resolve;
  for (int attempt = 0;; ++attempt) {
    Fd fd(static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how)));
    // ".." in a tree in which somebody renames: the kernel cannot tell that it stays inside (openat2(2)).
    if (fd || errno != EAGAIN || attempt == 100) return fd;
  }
}

/// Makes one component; what is there already stays, whatever it is: opening it decides.
void make_component(int parent, const char* name, bool directory, const char* path, StepReport& report) {
  if (directory) {
    if (mkdirat(parent, name, 0755) != 0 && errno != EEXIST) report.fail(errno, path);
    return;
  }
  const Fd made(openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644));
  if (!made && errno != EEXIST) report.fail(errno, path);
}

/// The target of a mount, made when it is missing. `path` is absolute.
Fd open_target(int root, const char* path, bool directory, std::uint64_t resolve, StepReport& report) {
  Fd target = open_below(root, path, directory ? O_DIRECTORY : 0, resolve);
  if (target) return target;
  if (errno != ENOENT) report.fail(errno, path);
  char prefix[PATH_MAX];
  const std::size_t size = std::strlen(path);
  if (size >= sizeof prefix) report.fail(ENAMETOOLONG, path);
  std::size_t name = 1;  // where the component begins
  for (std::size_t i = 1; i <= size; ++i) {
    if (path[i] != '/' && path[i] != '\0') continue;
    const bool is_directory = directory || path[i] == '/';
    std::memcpy(prefix, path, i);
    prefix[i] = '\0';
    Fd next = open_below(root, prefix, is_directory ? O_DIRECTORY : 0, resolve);
    if (!next && errno == ENOENT) {
      make_component(target ? target.get() : root, prefix + name, is_directory, path, report);
      next = open_below(root, prefix, is_directory ? O_DIRECTORY : 0, resolve);
    }
    if (!next) report.fail(errno, path);
    target = std::move(next);
    name = i + 1;
  }
  return target;
}

void attach(int tree, int target, const char* path, StepReport& report) {
  report.check(move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), path);
}

/// mount(2) has no form with a descriptor, but the working directory is one.
void mount_on(int target, const char* source, const char* type, unsigned long flags, const char* options, const char* path,
              StepReport& report) {
  report.check(fchdir(target), path);
  report.check(mount(source, ".", type, flags, options), path);
}

int next_tree(const ChildSetup& setup, std::size_t& next, const char* path, StepReport& report) {
  if (next == setup.trees.size()) report.fail(EBADMSG, path);
  return setup.trees[next++];
}

void mount_views(const ChildSetup& setup, std::size_t& next, StepReport& report) {
  for (const MountStep& step : setup.plan.mounts.views) {
    const char* path = step.target.c_str();
    const Fd target = open_target(setup.root, path, true, kNoLinks, report);
    if (step.tree) {
      attach(next_tree(setup, next, path, report), target.get(), path, report);
      continue;
    }
    mount_on(target.get(), step.source.c_str(), step.type.empty() ? nullptr : step.type.c_str(), step.flags, step.options.c_str(), path,
             report);
  }
}

struct LinkRow {
  const char* target;
  const char* name;
};
constexpr LinkRow kLinks[] = {{"pts/ptmx", "ptmx"},
                              {"/proc/self/fd", "fd"},
                              {"/proc/self/fd/0", "stdin"},
                              {"/proc/self/fd/1", "stdout"},
                              {"/proc/self/fd/2", "stderr"}};

/// In a /dev that was mounted a moment ago: nothing in it is of the image.
void make_devices(const ChildSetup& setup, StepReport& report) {
  const MountPlan& plan = setup.plan.mounts;
  if (plan.devices.empty()) return;
  const Fd dev = open_below(setup.root, "/dev", O_DIRECTORY, kNoLinks);
  report.check(dev.get(), "/dev");
  const bool are_there = setup.plan.isolation.has_own_ids();  // in the tree that came along
  for (const DeviceNode& device : plan.devices) {
    if (are_there) break;
    const char* path = device.path.c_str();
    const char* name = path + std::strlen("/dev/");
    Fd parent;
    if (const char* last = std::strrchr(name, '/'); last != nullptr) {  // /dev/net/tun
      char directory[PATH_MAX];
      const auto size = static_cast<std::size_t>(last - path);
      if (size >= sizeof directory) report.fail(ENAMETOOLONG, path);
      std::memcpy(directory, path, size);
      directory[size] = '\0';
      parent = open_target(setup.root, directory, true, kNoLinks, report);
      name = last + 1;
    }
    const int in = parent ? parent.get() : dev.get();
    report.check(mknodat(in, name, device.mode, makedev(device.major, device.minor)), path);
    if (device.uid != 0 || device.gid != 0) report.check(fchownat(in, name, device.uid, device.gid, AT_SYMLINK_NOFOLLOW), path);
  }
  if (!plan.device_links) return;
  for (const LinkRow& row : kLinks) report.check(symlinkat(row.target, dev.get(), row.name), row.name);
  // As runc has it; what it leads to is masked.
  if (access("/proc/kcore", F_OK) == 0) report.check(symlinkat("/proc/kcore", dev.get(), "core"), "core");
}

/// What the workload asked for. A directory goes over a directory and a file over a file, made when it is missing.
void mount_requested(const ChildSetup& setup, std::size_t& next, StepReport& report) {
  for (const MountStep& step : setup.plan.mounts.mounts) {
    const char* path = step.target.c_str();
    if (!step.tree) {
      const Fd target = open_target(setup.root, path, true, kLinksInside, report);
      mount_on(target.get(), step.source.c_str(), step.type.c_str(), step.flags, step.options.c_str(), path, report);
      continue;
    }
    const int tree = next_tree(setup, next, path, report);
    struct stat status {};
    report.check(fstat(tree, &status), path);
    const Fd target = open_target(setup.root, path, S_ISDIR(status.st_mode), kLinksInside, report);
    if (!S_ISDIR(status.st_mode)) {
      report.check(fstat(target.get(), &status), path);
      if (S_ISDIR(status.st_mode)) report.fail(EISDIR, path);  // the kernel's word for it depends on its version
    }
    attach(tree, target.get(), path, report);
  }
}

/// Only the root's own mount; what lies in it keeps its own word.
void make_root_read_only(const ChildSetup& setup, StepReport& report) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  report.check(mount_setattr(setup.root, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
}

void make_read_only(const ChildSetup& setup, const char* path, StepReport& report) {
  const Fd target = open_below(setup.root, path, 0, kNoLinks);
  if (!target && errno == ENOENT) return;
  report.check(target.get(), path);
  const Fd tree(open_tree(target.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  report.check(tree.get(), path);
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  report.check(mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes), path);
  attach(tree.get(), target.get(), path, report);
}

/// Covers paths: a file with /dev/null, a directory with one empty file system for all of them.
class Cover {
 public:
  Cover(const ChildSetup& setup, StepReport& report) : setup_(setup), report_(report) {}

  void hide(const char* path) {
    const Fd target = open_below(setup_.root, path, 0, kNoLinks);
    if (!target && errno == ENOENT) return;
    report_.check(target.get(), path);
    struct stat status {};
    report_.check(fstat(target.get(), &status), path);
    if (!S_ISDIR(status.st_mode)) return cover(null(), target.get(), path);
    if (empty_) return cover(empty_.get(), target.get(), path);
    mount_on(target.get(), "tmpfs", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0", path, report_);
    empty_ = open_below(setup_.root, path, O_DIRECTORY, kNoLinks);
    report_.check(empty_.get(), path);
  }

 private:
  void cover(int with, int target, const char* path) {
    const Fd tree(open_tree(with, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
    report_.check(tree.get(), path);
    attach(tree.get(), target, path, report_);
  }
  /// Whatever is bound over /proc/keys must swallow what is written to it: nothing but the null device does (CVE-2025-31133).
  int null() {
    if (null_) return null_.get();
    null_ = open_below(setup_.root, "/dev/null", 0, kNoLinks);
    report_.check(null_.get(), "/dev/null");
    struct stat status {};
    report_.check(fstat(null_.get(), &status), "/dev/null");
    if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3)) report_.fail(ENODEV, "/dev/null");
    return null_.get();
  }

  const ChildSetup& setup_;
  StepReport& report_;
  Fd null_;
  Fd empty_;
};

void pivot(const ChildSetup& setup, StepReport& report) {
  report.check(fchdir(setup.root));
  report.check(syscall(SYS_pivot_root, ".", "."));  // the old root now lies over the new one
  report.check(umount2(".", MNT_DETACH), "detach the host's root");
  report.check(chdir("/"));
}

}  // namespace

int in_child(const ChildSetup& setup, StepReport& report) {
  const Plan& plan = setup.plan;
  int terminal = -1;
  umask(0);
  report.at("make mounts private");
  report.check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  report.at("attach root file system");
  report.check(move_mount(setup.root, "", AT_FDCWD, plan.root.c_str(), MOVE_MOUNT_F_EMPTY_PATH), plan.root.c_str());
  report.at("user namespace");
  if (plan.isolation.has_own_ids()) privileges::become_root_of_namespace(report);
  report.at("mount");
  std::size_t next = 0;
  mount_views(setup, next, report);
  report.at("make devices");
  make_devices(setup, report);
  report.at("terminal");
  if (plan.tty) terminal = terminal::open(setup, setup.root, report);
  if (plan.tty && plan.mounts.device_links) terminal::bind_console(terminal, setup.root, report);
  report.at("mount");
  mount_requested(setup, next, report);
  report.at("read-only root");
  if (plan.mounts.read_only_root) make_root_read_only(setup, report);
  report.at("read-only paths");
  for (const std::string& path : plan.isolation.read_only) make_read_only(setup, path.c_str(), report);
  report.at("mask paths");
  Cover cover(setup, report);
  for (const std::string& path : plan.isolation.masked) cover.hide(path.c_str());
  report.at("pivot root");
  pivot(setup, report);
  return terminal;
}

}  // namespace tare::container::mounts
