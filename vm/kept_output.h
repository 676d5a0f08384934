// SPDX-License-Identifier: Apache-2.0
// The output of a guest's workload on disk, with how much of it that is: so that the next agent knows what to ask the guest for again. One
// thread at a time; size() from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "core/log.h"
#include "core/log_writer.h"
#include "core/units.h"
#include "core/workload.h"

namespace tare::vm {

/// What an agent that is killed between two calls leaves is what the last one made: no piece is there twice or in half.
class KeptOutput {
 public:
  /// In `directory`: the files of the log, "log.<n>", and "output". Throws Error.
  KeptOutput(const std::filesystem::path& directory, const LogLimits& limits);
  /// What an earlier agent left there, which is appended to `log`. Throws Error(failed) when it is missing or damaged.
  KeptOutput(const std::filesystem::path& directory, const LogLimits& limits, Log& log);

  /// `received`: how much of all the output there is with these bytes.
  void append(Stream stream, std::string_view bytes, Instant at, std::uint64_t received);
  /// How much of the output there was, of all that ever came; also what the disk did not take.
  std::uint64_t received() const { return received_; }
  /// Position of the log's end, for who reads it.
  std::uint64_t size() const { return size_.load(); }
  const std::string& log_path() const { return path_; }

 private:
  void write(Stream stream, std::string_view bytes, Instant at);
  void record();

  const std::string path_;
  Fd record_;
  std::unique_ptr<LogWriter> writer_;
  std::uint64_t received_ = 0;
  std::atomic<std::uint64_t> size_{0};
  std::vector<char> buffer_;
};

}  // namespace tare::vm
