// SPDX-License-Identifier: Apache-2.0
// Between the fork and the execve of a process that tare-init runs: what it is to be, step by step.
#pragma once

#include "guest/command.h"
#include "guest/protocol.h"

namespace tare::guest {

/// What a child says of the step that failed, through a pipe that a successful execve closes.
struct ChildReport {
  int number = 0;  // errno
  char step[60] = {};
};

/// The child's ends. With a terminal all three are its slave.
struct ChildStreams {
  int in = -1;  // -1: it keeps tare-init's, which is /dev/null
  int out = -1;
  int err = -1;
};

/// Becomes the process, or reports through `report_fd` and ends.
[[noreturn]] void become(const Command& command, const Attributes& attributes, const ChildStreams& streams, int report_fd) noexcept;

}  // namespace tare::guest
