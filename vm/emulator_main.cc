// SPDX-License-Identifier: Apache-2.0
// tare-emulator: what libvirt executes in QEMU's place. It enters the instance's control groups and becomes QEMU.
//
// A process of one thread that moves itself does so in microseconds; moving it from outside by its pid waits for RCU, and moving
// libvirt's calling thread first would leave the threads that libvirt makes for each domain inside the group, where the agent does not
// belong. TARE_TASKS names the files to write to, separated by ':'; without it this is QEMU being asked for its capabilities.
// The name it is called by says which QEMU it is.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool enter(const char* path) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  const bool entered = fd >= 0 && write(fd, "0", 1) == 1;
  if (fd >= 0) close(fd);
  return entered;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 1) return 126;
  if (char* list = std::getenv("TARE_TASKS")) {
    for (char* rest = list; const char* path = strsep(&rest, ":");) {
      if (enter(path)) continue;
      std::fprintf(stderr, "tare-emulator: enter %s: %s\n", path, std::strerror(errno));
      return 126;
    }
    unsetenv("TARE_TASKS");
  }
  const char* slash = std::strrchr(argv[0], '/');
  char path[4096];
  std::snprintf(path, sizeof path, "/usr/bin/%s", slash != nullptr ? slash + 1 : argv[0]);
  execv(path, argv);
  std::fprintf(stderr, "tare-emulator: execute %s: %s\n", path, std::strerror(errno));
  return 127;
}
