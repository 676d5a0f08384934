// SPDX-License-Identifier: Apache-2.0
// Sets of capabilities(7) as bit masks: bit n is capability n. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tare::container {

constexpr std::uint64_t capability_bit(int capability) { return std::uint64_t{1} << capability; }

/// All capabilities that this kernel knows.
std::uint64_t all_capabilities();
/// "chown,dac_override,…" or "all" or "none".
std::string text_of_capabilities(std::uint64_t set);
/// The number of "sys_admin"; nothing for a name that is none.
std::optional<int> capability_named(std::string_view name);

}  // namespace tare::container
