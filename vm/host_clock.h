// SPDX-License-Identifier: Apache-2.0
// The rate of this host's time-stamp counter, which an emulated guest sees as its own. Any thread.
#pragma once

#include <cstdint>

namespace tare::vm {

/// Measured once for a process against CLOCK_MONOTONIC_RAW, within a few parts in a million; takes 50 ms.
std::uint64_t tsc_khz();

}  // namespace tare::vm
