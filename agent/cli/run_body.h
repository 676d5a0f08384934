// SPDX-License-Identifier: Apache-2.0
// What was typed, as the body of a request. What a value must look like is the agent's to say, by the table that reads suites. Pure, but
// for our own environment and working directory.
#pragma once

#include <optional>
#include <string>

#include "agent/cli/options.h"
#include "core/streams.h"

namespace tare::agent::cli {

/// Of POST /tare/v1/instances. `size` is our own terminal's. Throws Error(usage) for what cannot be taken apart.
std::string run_body(const RunOptions& run, const std::optional<TerminalSize>& size);
/// Of POST …/exec.
std::string exec_body(const RunOptions& run, const std::optional<TerminalSize>& size);

}  // namespace tare::agent::cli
