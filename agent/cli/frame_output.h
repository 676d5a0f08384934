// SPDX-License-Identifier: Apache-2.0
// A stream of frames from the agent, written where they belong: stdout to stdout, stderr and sentences to stderr.
#pragma once

#include <functional>
#include <string>

#include "agent/client.h"
#include "agent/frames.h"
#include "agent/interrupt.h"

namespace tare::agent::cli {

/// Writes what comes until the stream ends, and returns the JSON of the last control frame, "" when there was none. `on_signal` is called
/// with each signal that arrives meanwhile. Throws Error when stdout is closed or full.
std::string write_frames(Client::Opened& stream, Interrupt& interrupt, const std::function<void(int)>& on_signal);

}  // namespace tare::agent::cli
