// SPDX-License-Identifier: Apache-2.0
// tare-emulator: what libvirt executes in QEMU's place. It enters the instance's control groups and its jail, and becomes QEMU.
//
// Moving libvirt's calling thread first would leave the threads that libvirt makes for each domain inside the group, where the agent does
// not belong. Without TARE_TASKS this is QEMU being asked for its capabilities. The name it is called by says which QEMU it is.

#include <ctime>

#include "vm/enter_groups.h"
#include "vm/enter_jail.h"

namespace {

// Where the agent finds when QEMU began: in its environment, /proc/<pid>/environ.
void tell_begin() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  char text[32];
  std::snprintf(text, sizeof text, "%lld", static_cast<long long>(now.tv_sec) * 1'000'000'000 + now.tv_nsec);
  setenv("TARE_BEGAN", text, 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 1) return 126;
  if (std::getenv("TARE_TASKS") != nullptr) tell_begin();
  if (!tare::vm::enter_groups("tare-emulator") || !tare::vm::enter_jail("tare-emulator", argv)) return 126;
  const char* slash = std::strrchr(argv[0], '/');
  char path[4096];
  std::snprintf(path, sizeof path, "/usr/bin/%s", slash != nullptr ? slash + 1 : argv[0]);
  execv(path, argv);
  std::fprintf(stderr, "tare-emulator: execute %s: %s\n", path, std::strerror(errno));
  return 127;
}
