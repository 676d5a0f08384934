// SPDX-License-Identifier: Apache-2.0
// What a kept instance's directory tells the next agent: what was asked for, that it had started, how it ended. One file each, written
// whole or not at all.
#pragma once

#include <filesystem>
#include <optional>

#include "agent/live_instance.h"
#include "core/paths.h"

namespace tare::agent {

struct InstanceRecord {
  std::filesystem::path run;  // of the agent that keeps it: only one with the same launcher can adopt it
  StartInstance start;
  double created_at = 0;  // unix time
  bool started = false;   // a client may have been told of it
  std::optional<Instant> requested, prepared;
  std::optional<Ending> ending;
};

/// Before anything of the instance is made.
void record_intent(const std::filesystem::path& directory, const std::filesystem::path& run, const LiveInstance& live);
/// When it is executed, before its client is told.
void record_start(const std::filesystem::path& directory, const Timeline& timeline);
void record_end(const std::filesystem::path& directory, const Ending& ending);

/// Nothing for a directory of no kept instance. Throws Error for a record that cannot be read.
std::optional<InstanceRecord> read_record(const std::filesystem::path& directory);

}  // namespace tare::agent
