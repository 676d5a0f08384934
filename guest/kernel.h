// SPDX-License-Identifier: Apache-2.0
// What tare-init asks of the guest's kernel. No allocation, no exception: PID 1 has one thread and nobody to catch for it.
#pragma once

#include <cstdint>

namespace tare::guest {

/// The guest's CLOCK_MONOTONIC.
std::int64_t now() noexcept;
/// Where the zero of the kernel's log clock lies on CLOCK_MONOTONIC: as near to the kernel's entry as a stock kernel lets one see.
/// That clock starts in the first milliseconds of start_kernel (with tsc_early_khz: in setup_arch); CLOCK_MONOTONIC only when timer
/// interrupts arrive. A line written to /dev/kmsg and read back carries its time on that clock, in microseconds.
std::int64_t kernel_entry() noexcept;

/// "tare-init: <text>" in the kernel's log at the level of an emergency, which reaches the console whatever its log level.
void announce(const char* text) noexcept;
/// announce() of a step that failed.
void complain(const char* step, int error) noexcept;
/// Loads the modules that the file `list` names, one path a line, in its order.
bool load_modules(const char* list) noexcept;
/// Writes `text` to a kernel file that exists.
bool write_text(const char* path, const char* text) noexcept;
/// The content of a kernel file in a buffer of the callee's, until the next call; empty when there is none.
const char* read_text(const char* path) noexcept;
/// Ends the guest, at once and without syncing: its disk dies with it.
[[noreturn]] void power_off() noexcept;

}  // namespace tare::guest
