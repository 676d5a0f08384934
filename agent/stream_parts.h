// SPDX-License-Identifier: Apache-2.0
// What the streams of instances are made of: their heads, a log as frames, and bytes on their way into a process.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/frames.h"
#include "core/log.h"
#include "core/streams.h"

namespace tare::agent {

std::string stream_head(std::string_view status, std::string_view type, std::string_view more);

/// A log as a client sees it. One thread.
class LogFrames {
 public:
  struct Choice {
    bool timestamps = false;
    bool out = true;
    bool err = true;
    bool bare = false;  // no frames: the bytes alone
    std::optional<Instant> since{};
  };
  LogFrames(const Log& log, const Choice& choice);
  /// From now on `reader` is read instead, which has more.
  void read_instead(std::unique_ptr<LogReader> reader) { reader_ = std::move(reader); }
  /// What the log has beyond the cursor, a part of it when it is much.
  std::string next();

  LogCursor cursor;

 private:
  std::vector<LogPiece> read();

  const Log& log_;
  std::unique_ptr<LogReader> reader_;
  const Choice choice_;
  const std::int64_t epoch_;  // read once, so that lines of one moment have one time
  std::uint64_t told_lost_ = 0;
};

/// Holds what a process does not take yet. One thread.
class Feeder {
 public:
  /// `input` may be null: then everything is dropped.
  explicit Feeder(Input* input) : input_(input) {}
  void add(std::string_view bytes);
  /// After what was added comes the end.
  void end();
  void resize(TerminalSize size) const;
  /// True when nothing is held any more.
  bool drained();

 private:
  Input* const input_;
  std::string held_;
  bool ended_ = false;
};

}  // namespace tare::agent
