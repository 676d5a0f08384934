// SPDX-License-Identifier: Apache-2.0
// The processes that tare-init runs for the host: the workload (number 0) and those that exec adds. Forwards their output and exits.
#pragma once

#include <poll.h>

#include <span>

#include "guest/protocol.h"

namespace tare::guest::processes {

constexpr std::size_t kMost = 32;  // running at the same time

/// Collects the strings of the process to be started next.
void add_argument(std::string_view text) noexcept;
void add_environment(std::string_view text) noexcept;
void set_program(std::string_view path) noexcept;
void set_directory(std::string_view path) noexcept;

/// Makes the control group that bounds the number of processes; 0 is no bound. Before the root is entered.
const char* limit_processes(std::uint64_t pids) noexcept;
/// Runs what was collected as `number` and sends `executed`, or `failure` with the step that failed.
bool start(std::uint16_t number, bool restricted) noexcept;
/// A signal to one process, or to all but tare-init.
void signal(std::uint16_t number, const Signal& signal) noexcept;

/// What to poll for output; fills `fds` and returns how many.
std::size_t poll_fds(std::span<pollfd> fds) noexcept;
/// Forwards what is there to be read.
void forward() noexcept;
/// Collects ended children, sends `exited` for ours. True once the workload has ended; every other process is dead then and its output
/// sent.
bool reap() noexcept;

}  // namespace tare::guest::processes
