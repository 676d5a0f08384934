// SPDX-License-Identifier: Apache-2.0
// What tare-init asks of the guest's kernel. No allocation, no exception: PID 1 has one thread and nobody to catch for it.
#pragma once

#include <cstdint>
#include <string_view>

namespace tare::guest {

/// The guest's CLOCK_MONOTONIC.
std::int64_t now() noexcept;
/// The CPU's time-stamp counter.
std::uint64_t ticks() noexcept;
/// Where the zero of the kernel's scheduler clock lies on CLOCK_MONOTONIC: as near to the kernel's entry as a stock kernel lets one see.
/// That clock starts in the first milliseconds of start_kernel (setup_arch) and counts the time-stamp counter or the hypervisor's clock;
/// CLOCK_MONOTONIC starts later, when timer interrupts arrive, and the log's clock loses what they lose. debugfs tells the two clocks at
/// once; where a kernel has none, a line written to /dev/kmsg and read back carries its time on the log's clock.
std::int64_t kernel_entry() noexcept;

/// "tare-init: <text>" in the kernel's log at the level of an emergency, which reaches the console whatever its log level.
void announce(const char* text) noexcept;
/// announce() of a step that failed.
void complain(const char* step, int error) noexcept;
/// Loads the modules that the file `list` names, one path a line, in its order.
bool load_modules(const char* list) noexcept;
/// Sets CLOCK_REALTIME.
bool set_clock(std::int64_t realtime) noexcept;
/// Mixes `seed` into the kernel's random number generator and has it begin anew from there.
bool reseed(std::string_view seed) noexcept;
/// Writes `text` to a kernel file that exists.
bool write_text(const char* path, const char* text) noexcept;
/// The content of a kernel file in a buffer of the callee's, until the next call; empty when there is none.
const char* read_text(const char* path) noexcept;
/// The number behind `key` at the beginning of a line of such a content; 0 when there is none.
std::uint64_t number_after(const char* text, const char* key) noexcept;
/// Ends the guest, at once and without syncing: its disk dies with it.
[[noreturn]] void power_off() noexcept;

}  // namespace tare::guest
