// SPDX-License-Identifier: Apache-2.0
#include "guest/rootfs.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <initializer_list>

namespace tare::guest::rootfs {
namespace {

struct Mount {
  const char* source;
  const char* target;
  const char* type;
  unsigned long flags;
  const char* options;
};

struct Node {
  const char* path;
  unsigned major;
  unsigned minor;
};

struct Link {
  const char* target;
  const char* path;
};

bool read_only = false;  // the root

constexpr unsigned long kQuiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;

constexpr Mount kEarly[] = {
    {"proc", "/proc", "proc", kQuiet, ""},
    {"sysfs", "/sys", "sysfs", kQuiet, ""},
    {"devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"},
};

constexpr Mount kInside[] = {
    {"proc", "/root/proc", "proc", kQuiet, ""},
    {"sysfs", "/root/sys", "sysfs", kQuiet | MS_RDONLY, ""},
    {"tmpfs", "/root/dev", "tmpfs", MS_NOSUID, "mode=0755,size=64k"},
    {"devpts", "/root/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"tmpfs", "/root/dev/shm", "tmpfs", kQuiet, "mode=1777,size=64m"},
    {"mqueue", "/root/dev/mqueue", "mqueue", kQuiet, ""},
};

constexpr Node kNodes[] = {{"/root/dev/null", 1, 3},   {"/root/dev/zero", 1, 5},    {"/root/dev/full", 1, 7},
                           {"/root/dev/random", 1, 8}, {"/root/dev/urandom", 1, 9}, {"/root/dev/tty", 5, 0}};

constexpr Link kLinks[] = {{"/proc/self/fd", "/root/dev/fd"},
                           {"/proc/self/fd/0", "/root/dev/stdin"},
                           {"/proc/self/fd/1", "/root/dev/stdout"},
                           {"/proc/self/fd/2", "/root/dev/stderr"},
                           {"pts/ptmx", "/root/dev/ptmx"}};

const char* mount_one(const Mount& entry) noexcept {
  // An image may lack the directory; the overlay's upper layer takes it.
  if (mkdir(entry.target, 0755) != 0 && errno != EEXIST) return entry.target;
  return mount(entry.source, entry.target, entry.type, entry.flags, entry.options) == 0 ? nullptr : entry.target;
}

bool make_file(const char* path, const char* text) noexcept {
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  const auto size = static_cast<ssize_t>(std::strlen(text));
  const bool written = fd >= 0 && write(fd, text, static_cast<std::size_t>(size)) == size;
  if (fd >= 0) close(fd);
  return written;
}

const char* write_etc(const char* root, const char* hostname, const char* resolver) noexcept {
  const struct {
    const char* step;
    const char* name;
    const char* format;
    const char* value;
  } files[] = {{"write of /etc/hosts", "hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n", hostname},
               {"write of /etc/hostname", "hostname", "%s\n", hostname},
               {"write of /etc/resolv.conf", "resolv.conf", "%s", resolver}};
  static char text[8192];
  for (const auto& file : files) {
    char path[64];
    std::snprintf(path, sizeof path, "%s/etc/%s", root, file.name);
    std::snprintf(text, sizeof text, file.format, file.value);
    if (!make_file(path, text)) return file.step;
  }
  return nullptr;
}

}  // namespace

const char* mount_early() noexcept {
  for (const Mount& entry : kEarly) {
    if (mount_one(entry) != nullptr) return entry.target;
  }
  return nullptr;
}

const char* mount_disks() noexcept {
  constexpr Mount lower{"/dev/vda", "/lower", "erofs", MS_RDONLY, ""};
  // The lazy initialisation of a fresh file system would write while the workload is measured.
  constexpr Mount scratch{"/dev/vdb", "/scratch", "ext4", MS_NOATIME, "noinit_itable"};
  if (mount_one(lower) != nullptr) return "mount of the image /dev/vda";
  return mount_one(scratch) == nullptr ? nullptr : "mount of the scratch disk /dev/vdb";
}

const char* mount_root(const char* hostname, const char* resolver) noexcept {
  constexpr Mount overlay{"overlay", "/root", "overlay", 0, "lowerdir=/lower,upperdir=/scratch/upper,workdir=/scratch/work"};
  for (const char* path : {"/scratch/upper", "/scratch/work", "/scratch/upper/etc"}) {
    if (mkdir(path, 0755) != 0 && errno != EEXIST) return path;
  }
  // Before the overlay is mounted, so that no link in the image is followed.
  if (const char* failed = write_etc("/scratch/upper", hostname, resolver)) return failed;
  return mount_one(overlay) == nullptr ? nullptr : "mount of the overlay";
}

const char* enter_root() noexcept {
  umask(0);
  for (const Mount& entry : kInside) {
    if (mount_one(entry) != nullptr) return entry.target;
  }
  for (const Node& node : kNodes) {
    if (mknod(node.path, S_IFCHR | 0666, makedev(node.major, node.minor)) != 0) return node.path;
  }
  for (const Link& link : kLinks) {
    if (symlink(link.target, link.path) != 0) return link.path;
  }
  umask(022);
  // The initramfs is the kernel's first mount, which pivot_root(2) refuses: the new root is moved over it instead.
  if (chdir("/root") != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0) return "move of the root";
  if (chroot(".") != 0 || chdir("/") != 0) return "change of the root";
  return nullptr;
}

// A read-only root is opened for it: for that long the workload may write too.
const char* rename(const char* hostname, const char* resolver) noexcept {
  if (!read_only) return write_etc("", hostname, resolver);
  if (mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND, nullptr) != 0) return "read-only root";
  const char* failed = write_etc("", hostname, resolver);
  const int error = errno;
  const char* open = make_read_only();
  if (failed != nullptr) errno = error;
  return failed != nullptr ? failed : open;
}

const char* make_read_only() noexcept {
  read_only = true;
  return mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0 ? nullptr : "read-only root";
}

}  // namespace tare::guest::rootfs
