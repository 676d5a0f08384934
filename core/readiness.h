// SPDX-License-Identifier: Apache-2.0
// "ready", detected from outside the instance by one mechanism for all backends.
#pragma once

#include "core/backend.h"

namespace tare {

/// Waits until `instance` satisfies `ready` and marks `ready` (and `responded`, when an HTTP response or a log line proved it).
/// tcp and http: non-blocking tries at instance.address(), a new one 1 ms after the last was refused, or 10 ms after one that is
/// still pending; the first to succeed counts. Throws Error(timeout) that says what was awaited and the last answer, or
/// Error(failed) when the workload ended before it was ready, with its exit and last output line.
void await_ready(Instance& instance, const Ready& ready, Timeline& timeline, Deadline deadline);

/// "http GET /healthz on port 8080", for messages.
std::string text_of(const Ready& ready);

/// True when something on this host already listens on TCP `port` of 127.0.0.1: for metal, whose workloads share the host's ports.
bool port_in_use(std::uint16_t port);

}  // namespace tare
