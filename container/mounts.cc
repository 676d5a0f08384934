// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "container/child.h"

namespace tare::container::mounts {
namespace {

// Paths without a leading slash are below the new root, which is the working directory until it is pivoted to.
struct MountRow {
  const char* step;
  const char* source;
  const char* target;
  const char* type;
  unsigned long flags;
  const char* options;
};

constexpr unsigned long kPlain = MS_NOSUID | MS_NOEXEC | MS_NODEV;

constexpr MountRow kOwnViews[] = {
    {"mount proc", "proc", "proc", "proc", kPlain, nullptr},
    {"mount sysfs", "sysfs", "sys", "sysfs", kPlain | MS_RDONLY, nullptr},
    {"mount dev", "tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"},
    {"mount devpts", "devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"mount shm", "shm", "dev/shm", "tmpfs", kPlain, "mode=1777,size=65536k"},
    {"mount mqueue", "mqueue", "dev/mqueue", "mqueue", kPlain, nullptr},
};

constexpr MountRow kHostViews[] = {
    {"bind proc", "/proc", "proc", nullptr, MS_BIND | MS_REC, nullptr},
    {"bind sysfs", "/sys", "sys", nullptr, MS_BIND | MS_REC, nullptr},
    {"bind dev", "/dev", "dev", nullptr, MS_BIND | MS_REC, nullptr},
};

struct DeviceRow {
  const char* path;
  unsigned major;
  unsigned minor;
};
constexpr DeviceRow kDevices[] = {{"dev/null", 1, 3},   {"dev/zero", 1, 5},    {"dev/full", 1, 7},
                                  {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};

struct LinkRow {
  const char* target;
  const char* path;
};
constexpr LinkRow kLinks[] = {{"pts/ptmx", "dev/ptmx"},
                              {"/proc/self/fd", "dev/fd"},
                              {"/proc/self/fd/0", "dev/stdin"},
                              {"/proc/self/fd/1", "dev/stdout"},
                              {"/proc/self/fd/2", "dev/stderr"}};

// The image decides what `proc`, `sys` and `dev` are: a symbolic link there would lead a mount out of the root (CVE-2019-19921).
void make_mount_point(const char* path, StepReport& report) {
  if (mkdir(path, 0755) == 0) return;
  if (errno != EEXIST) report.fail(errno, path);
  struct stat status;
  report.check(lstat(path, &status), path);
  if (!S_ISDIR(status.st_mode)) report.fail(ENOTDIR, path);
}

template <std::size_t N>
void mount_all(const MountRow (&table)[N], StepReport& report) {
  for (const MountRow& row : table) {
    report.at(row.step);
    make_mount_point(row.target, report);
    report.check(mount(row.source, row.target, row.type, row.flags, row.options), row.target);
  }
}

void make_devices(StepReport& report) {
  report.at("make devices");
  for (const DeviceRow& row : kDevices) report.check(mknod(row.path, S_IFCHR | 0666, makedev(row.major, row.minor)), row.path);
  for (const LinkRow& row : kLinks) report.check(symlink(row.target, row.path), row.path);
}

void pivot(StepReport& report) {
  report.at("pivot root");
  report.check(syscall(SYS_pivot_root, ".", "."));  // the old root now lies over the new one
  report.check(umount2(".", MNT_DETACH), "detach the host's root");
  report.check(chdir("/"));
}

void mask(const char* path, StepReport& report) {
  struct stat status;
  if (lstat(path, &status) != 0) {
    if (errno == ENOENT) return;
    report.fail(errno, path);
  }
  if (S_ISDIR(status.st_mode)) {
    report.check(mount("tmpfs", path, "tmpfs", MS_RDONLY | kPlain, "size=0"), path);
  } else {
    report.check(mount("/dev/null", path, nullptr, MS_BIND, nullptr), path);
  }
}

void make_read_only(const char* path, StepReport& report) {
  if (mount(path, path, nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    if (errno == ENOENT) return;
    report.fail(errno, path);
  }
  report.check(mount(nullptr, path, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | kPlain, nullptr), path);
}

}  // namespace

void in_child(const ChildSetup& setup, StepReport& report) {
  const Plan& plan = setup.plan;
  umask(0);
  report.at("make mounts private");
  report.check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  report.at("attach root file system");
  report.check(move_mount(setup.root, "", AT_FDCWD, plan.root.c_str(), MOVE_MOUNT_F_EMPTY_PATH), plan.root.c_str());
  report.at("enter root file system");
  report.check(chdir(plan.root.c_str()), plan.root.c_str());
  if (plan.isolation.own_kernel_views) {
    mount_all(kOwnViews, report);
    make_devices(report);
  } else {
    mount_all(kHostViews, report);
  }
  pivot(report);
  report.at("mask paths");
  for (const std::string& path : plan.isolation.masked) mask(path.c_str(), report);
  report.at("read-only paths");
  for (const std::string& path : plan.isolation.read_only) make_read_only(path.c_str(), report);
}

}  // namespace tare::container::mounts
