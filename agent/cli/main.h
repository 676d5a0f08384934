// SPDX-License-Identifier: Apache-2.0
// The command line of tare. The program gives it the real backends, a test its own; there is no other difference.
#pragma once

#include "agent/backends.h"

namespace tare::agent::cli {

/// What main() returns: DESIGN.md, "Contracts". The only place that prints an error.
int run(int argc, const char* const* argv, const MakeBackends& make) noexcept;

}  // namespace tare::agent::cli
