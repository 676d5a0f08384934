// SPDX-License-Identifier: Apache-2.0
// tare-share STAGE directory|file PROGRAM ARGUMENTS…: enters the instance's control groups and a mount namespace of its own, attaches the
// tree that it gets as descriptor 0 at STAGE (a file as the one file of a directory) and becomes PROGRAM, which serves STAGE to a guest.
// Descriptor 1 is the socket on which PROGRAM listens; it becomes 3.
//
// So what the guest reaches is this tree with this mount's flags: a guest's root can ask for what he likes, a read-only bind stays so.
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <string>

#include "vm/enter_groups.h"

namespace {

constexpr int kTree = 0;
constexpr int kSocket = 3;

int fail(const char* step) {
  std::fprintf(stderr, "tare-share: %s: %s\n", step, std::strerror(errno));
  return 126;
}

bool attach(const char* at) { return move_mount(kTree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) == 0; }

// A step that failed, or nullptr.
const char* attach_file(const char* stage) {
  const std::string file = std::string(stage) + "/file";
  if (mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4k") != 0) return "mount of a tmpfs";
  const int fd = open(file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return "make of a file";
  close(fd);
  if (!attach(file.c_str())) return "attach of the file";
  return mount(nullptr, stage, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) == 0 ? nullptr
                                                                                                               : "remount of a tmpfs";
}

bool place_descriptors() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  return null >= 0 && dup2(STDOUT_FILENO, kSocket) == kSocket && dup2(null, STDIN_FILENO) == STDIN_FILENO &&
         dup2(null, STDOUT_FILENO) == STDOUT_FILENO;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  if (!tare::vm::enter_groups("tare-share")) return 126;
  const char* stage = argv[1];
  if (unshare(CLONE_NEWNS) != 0) return fail("make of a mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail("make mounts private");
  if (std::strcmp(argv[2], "file") == 0) {
    if (const char* step = attach_file(stage)) return fail(step);
  } else if (!attach(stage)) {
    return fail("attach of the directory");
  }
  if (!place_descriptors()) return fail("move of descriptors");
  execv(argv[3], argv + 3);
  return fail(argv[3]);
}
