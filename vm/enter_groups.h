// SPDX-License-Identifier: Apache-2.0
// How a small program of one thread enters the control groups of an instance before it becomes another: in microseconds, where moving it
// from outside by its pid waits for RCU.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tare::vm {

/// Writes "0" to each of the files that TARE_TASKS names, separated by ':', and forgets the variable. Says on stderr what failed, then
/// returns false. Does nothing without the variable.
inline bool enter_groups(const char* program) {
  char* list = std::getenv("TARE_TASKS");
  if (list == nullptr) return true;
  for (char* rest = list; const char* path = strsep(&rest, ":");) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const bool entered = fd >= 0 && write(fd, "0", 1) == 1;
    const int error = errno;
    if (fd >= 0) close(fd);
    if (entered) continue;
    std::fprintf(stderr, "%s: enter %s: %s\n", program, path, std::strerror(error));
    return false;
  }
  unsetenv("TARE_TASKS");
  return true;
}

}  // namespace tare::vm
