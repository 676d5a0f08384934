// SPDX-License-Identifier: Apache-2.0
// Why the processor left a guest, by KVM's counters. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace tare::vm {

/// The command of QEMU's monitor (7.1 or later) whose answer exits_of() reads.
constexpr std::string_view kAskExits = R"({"execute":"query-stats","arguments":{"target":"vcpu","providers":[{"provider":"kvm"}]}})";

/// All virtual CPUs together since QEMU began, by reason: "io", "mmio", "halt", "interrupt", "interrupt_window", "nmi_window" and
/// "hypercall" as far as this kernel counts them (its statistics io_exits, mmio_exits, halt_exits, irq_exits, irq_window_exits,
/// nmi_window_exits and hypercalls), and "other" for the rest of `exits`. Empty where the answer has none, as without KVM.
std::map<std::string, std::uint64_t> exits_of(const std::string& answer);

}  // namespace tare::vm
