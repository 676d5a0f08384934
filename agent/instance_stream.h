// SPDX-License-Identifier: Apache-2.0
// What a client sees of a live instance as a stream: its log and its end. (process_stream.h: where it is attached.)
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/frames.h"
#include "agent/instances.h"
#include "agent/source.h"

namespace tare::agent {

struct LogQuery {
  bool follow = false;
  bool timestamps = false;
  bool out = true;
  bool err = true;
  std::optional<std::uint64_t> tail;  // lines
  std::optional<double> since;        // unix time
};

/// The log in frames; with `follow`, until the instance has ended.
std::unique_ptr<Source> log_source(std::shared_ptr<LiveInstance> live, const LogQuery& query);
/// {"StatusCode": …} when the instance has ended; the head is sent at once.
std::unique_ptr<Source> wait_source(std::shared_ptr<LiveInstance> live);

}  // namespace tare::agent
