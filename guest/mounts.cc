// SPDX-License-Identifier: Apache-2.0
// The paths are the image's to turn aside with links: they lead round inside the guest's root, which is all there is.
#include "guest/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

namespace tare::guest::mounts {
namespace {

constexpr std::size_t kMost = 64;  // kMostMounts of core/mount_rules.h
// A share with one file has no place of its own in the root: it lies here while its file is bound to the target.
constexpr const char* kStage = "/dev/.share";

struct Entry {
  MountAt what;
  char target[PATH_MAX];
};
Entry entries[kMost];
std::size_t count = 0;
bool overflow = false;
char step[PATH_MAX + 16];

const char* failed(const char* target) noexcept {
  std::snprintf(step, sizeof step, "mount %s", target);
  return step;
}

bool make_file(const char* path) noexcept {
  const int fd = open(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
  if (fd >= 0) close(fd);
  return fd >= 0 || errno == EEXIST;
}

// What is there already stays, whatever it is: mounting decides. Changes `path` while it works.
bool make_target(char* path, bool directory) noexcept {
  for (char* at = path + 1; *at != '\0'; ++at) {
    if (*at != '/') continue;
    *at = '\0';
    const bool there = mkdir(path, 0755) == 0 || errno == EEXIST;
    *at = '/';
    if (!there) return false;
  }
  return directory ? mkdir(path, 0755) == 0 || errno == EEXIST : make_file(path);
}

bool is_directory(const char* path) noexcept {
  struct stat status {};
  return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

unsigned long flags_of(const MountAt& what) noexcept {
  const bool memory = what.kind == static_cast<std::uint8_t>(MountAt::Kind::tmpfs);
  return MS_NODEV | (memory ? MS_NOEXEC : 0) | (what.set_ids == 0 ? MS_NOSUID : 0) | (what.read_only != 0 ? MS_RDONLY : 0);
}

bool mount_memory(const Entry& entry) noexcept {
  char options[64] = "mode=1777";
  if (entry.what.size != 0) {
    std::snprintf(options, sizeof options, "mode=1777,size=%llu", static_cast<unsigned long long>(entry.what.size));
  }
  return mount("tmpfs", entry.target, "tmpfs", flags_of(entry.what), options) == 0;
}

bool mount_file(const Entry& entry, const char* tag) noexcept {
  if (is_directory(entry.target)) {
    errno = EISDIR;
    return false;
  }
  if (mkdir(kStage, 0700) != 0 && errno != EEXIST) return false;
  if (mount(tag, kStage, "virtiofs", flags_of(entry.what), "") != 0) return false;
  char file[32];
  std::snprintf(file, sizeof file, "%s/file", kStage);
  const bool bound = mount(file, entry.target, nullptr, MS_BIND, nullptr) == 0 &&
                     mount(nullptr, entry.target, nullptr, MS_REMOUNT | MS_BIND | flags_of(entry.what), nullptr) == 0;
  const int error = errno;
  umount2(kStage, MNT_DETACH);
  rmdir(kStage);
  errno = error;
  return bound;
}

bool make_one(Entry& entry) noexcept {
  const auto kind = static_cast<MountAt::Kind>(entry.what.kind);
  char tag[16];
  std::snprintf(tag, sizeof tag, "tare%u", static_cast<unsigned>(entry.what.share));
  if (!make_target(entry.target, kind != MountAt::Kind::file)) return false;
  switch (kind) {
    case MountAt::Kind::tmpfs: return mount_memory(entry);
    case MountAt::Kind::directory: return mount(tag, entry.target, "virtiofs", flags_of(entry.what), "") == 0;
    case MountAt::Kind::file: return mount_file(entry, tag);
  }
  errno = EPROTO;
  return false;
}

}  // namespace

void add(const MountAt& mount) noexcept {
  if (count == kMost || mount.text.empty() || mount.text.size() >= sizeof entries[0].target) {
    overflow = true;
    return;
  }
  Entry& entry = entries[count++];
  entry.what = mount;
  std::memcpy(entry.target, mount.text.data(), mount.text.size());
  entry.target[mount.text.size()] = '\0';
}

const char* make() noexcept {
  if (overflow) {
    errno = E2BIG;
    return "collection of mounts";
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (!make_one(entries[i])) return failed(entries[i].target);
  }
  return nullptr;
}

}  // namespace tare::guest::mounts
