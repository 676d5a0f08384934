// SPDX-License-Identifier: Apache-2.0
// The same answers from a third of the instructions. libseccomp asks for one call number after the other; here neighbours with the same
// answer become one range and the ranges a binary tree. It matters because a filter costs time at every start: the kernel translates it
// to machine code and runs it once for each call number, to learn which are always allowed. 1282 instructions of libseccomp take 330 µs to
// install, 383 of these 145 µs. Pure; any thread.
#pragma once

#include <linux/filter.h>

#include <functional>
#include <optional>
#include <vector>

namespace tare::container {

constexpr unsigned kX32Calls = 0x40000000;  // the bit that x32 numbers have on top

/// Return values of a filter (SECCOMP_RET_…) that go before the program's: for an architecture (AUDIT_ARCH_…) and a call number, x32
/// numbers with their bit.
using SeccompOverride = std::function<std::optional<unsigned>(unsigned architecture, unsigned number)>;

/// `program`: a filter whose code, once it loads an argument, never looks at architecture or number again, as libseccomp makes them. Call
/// numbers from `bound` on are answered like `bound` itself. Throws Error(internal) when the ranges do not fit into a program.
std::vector<sock_filter> flatten(const std::vector<sock_filter>& program, unsigned bound, const SeccompOverride& override);

}  // namespace tare::container
