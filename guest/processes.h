// SPDX-License-Identifier: Apache-2.0
// The processes that tare-init runs for the host: the workload (number 0) and those that exec adds. Moves what they read and write, and
// tells their exits. Nothing waits for a process or for the host: who does not read holds back its own streams alone.
#pragma once

#include <poll.h>

#include <span>

#include "guest/command.h"
#include "guest/protocol.h"

namespace tare::guest::processes {

constexpr std::size_t kMost = 32;  // running at the same time
constexpr std::size_t kMostPolled = 3 * kMost;

/// The process to be started next, as it is described.
Command& next() noexcept;

/// Makes the control group that bounds the number of processes; 0 is no bound. Before the root is entered.
const char* limit_processes(std::uint64_t pids) noexcept;
/// Runs next() as `number` and sends `executed`, or `failure` with the step that failed.
bool start(std::uint16_t number, const Attributes& attributes) noexcept;
/// A signal to one process, or to all but tare-init.
void signal(std::uint16_t number, const Signal& signal) noexcept;

/// For the stdin of a process that may have ended meanwhile. False when the host does not keep to the window.
bool feed(std::uint16_t number, std::string_view bytes) noexcept;
void end_input(std::uint16_t number) noexcept;
void resize(std::uint16_t number, const Resize& size) noexcept;
/// False when more was read than was sent.
bool output_taken(std::uint16_t number, std::uint64_t position) noexcept;

/// Another agent goes on, which has the workload's output up to `output`.
Attached attach(std::uint64_t output) noexcept;

/// What to poll; fills `fds` and returns how many.
std::size_t poll_fds(std::span<pollfd> fds) noexcept;
/// Moves what is there, and sends `exited` of those that have ended and whose output is sent: the workload's last.
void move() noexcept;
/// Collects ended children. With the workload every other process ends.
void reap() noexcept;

}  // namespace tare::guest::processes
