// SPDX-License-Identifier: Apache-2.0
#include "agent/journal.h"

#include <unistd.h>

#include <atomic>

#include "agent/wire.h"

namespace tare::agent::journal {
namespace {

std::atomic<Level> lowest{Level::info};
std::array<std::atomic<std::uint64_t>, 3> counters{};
constexpr std::array<std::string_view, 3> kWords = {"info", "warn", "error"};

void say(Level level, const std::string& message) {
  const auto index = static_cast<std::size_t>(level);
  ++counters[index];
  if (level < lowest.load()) return;
  const std::string line = utc_now() + " tare agent " + std::string(kWords[index]) + ": " + message + "\n";
  // One write(2), so that lines of two threads do not mix; a closed stderr is no reason to stop.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

void set_level(Level level) { lowest = level; }

Level level_named(std::string_view word) {
  for (std::size_t i = 0; i < kWords.size(); ++i) {
    if (kWords[i] == word) return static_cast<Level>(i);
  }
  return Level::info;
}

void info(const std::string& message) { say(Level::info, message); }
void warn(const std::string& message) { say(Level::warn, message); }
void error(const std::string& message) { say(Level::error, message); }

std::array<std::uint64_t, 3> counts() { return {counters[0].load(), counters[1].load(), counters[2].load()}; }

}  // namespace tare::agent::journal
