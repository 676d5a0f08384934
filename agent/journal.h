// SPDX-License-Identifier: Apache-2.0
// What the agent says while it lives: one line a message on stderr, with UTC time. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace tare::agent::journal {

enum class Level { info, warn, error };

/// Messages below `level` are counted and not written. Set once, before threads exist.
void set_level(Level level);
Level level_named(std::string_view word);

void info(const std::string& message);
void warn(const std::string& message);
void error(const std::string& message);

/// Messages since the start, by level: for tare_agent_log_messages_total.
std::array<std::uint64_t, 3> counts();

}  // namespace tare::agent::journal
