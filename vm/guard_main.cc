// SPDX-License-Identifier: Apache-2.0
// tare-guard STATE: waits for the end of its standard input, which is the end of the agent that started it, and then removes what that
// left of libvirt's below STATE. An agent that needs it no longer kills it.
//
// A child that libvirt has forked and that has not yet executed QEMU holds the pipe's other end too: at the end of input all have.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>

#include "vm/driver_root.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  char byte = 0;
  for (ssize_t n = 1; n > 0 || (n < 0 && errno == EINTR);) n = ::read(STDIN_FILENO, &byte, 1);
  try {
    tare::vm::tidy_driver_roots({argv[1], {}, {}});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tare-guard: %s\n", error.what());
    return 1;
  }
  return 0;
}
