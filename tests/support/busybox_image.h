// SPDX-License-Identifier: Apache-2.0
// A small root filesystem with a shell, made from Debian's busybox-static, for workloads that need more than the built-in image has.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/files.h"

namespace tare::test {

class BusyboxImage {
 public:
  BusyboxImage() {
    namespace fs = std::filesystem;
    for (const char* folder : {"bin", "tmp", "proc", "sys", "dev", "etc", "run", "job"}) fs::create_directories(root_.path() / folder);
    ::chmod(root_.path().c_str(), 0755);
    ::chmod((root_.path() / "tmp").c_str(), 01777);
    fs::copy_file("/bin/busybox", root_.path() / "bin/busybox");
    for (const char* applet : {"sh",   "echo", "cat",  "ls",    "sleep",  "usleep", "true",   "false", "env",  "pwd",   "hostname",
                               "dd",   "wc",   "id",   "touch", "seq",    "head",   "tail",   "mkdir", "ps",   "kill",  "grep",
                               "sync", "rm",   "test", "mount", "umount", "mknod",  "chroot", "tty",   "stty", "md5sum"}) {
      fs::create_symlink("busybox", root_.path() / "bin" / applet);
    }
    std::ofstream(root_.path() / "etc/passwd") << "root:x:0:0:root:/root:/bin/sh\nweigher:x:7:8::/home/weigher:/bin/sh\n";
    std::ofstream(root_.path() / "etc/group") << "root:x:0:\nweigher:x:8:\nscales:x:9:weigher\n";
    std::ofstream(root_.path() / "job/not-executable") << "text\n";
  }
  const std::filesystem::path& path() const { return root_.path(); }
  std::string reference() const { return "dir:" + root_.path().string(); }

 private:
  TempDir root_{"/var/tmp"};  // on a disk: overlayfs and mkfs.erofs read it
};

}  // namespace tare::test
