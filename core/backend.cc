// SPDX-License-Identifier: Apache-2.0
#include "core/backend.h"

#include "core/bytes.h"
#include "core/error.h"
#include "core/instance_dir.h"

namespace tare {

std::string_view name(State state) noexcept {
  constexpr std::array<std::string_view, 5> kNames = {"created", "running", "paused", "exited", "removed"};
  return kNames[static_cast<std::size_t>(state)];
}

ExecResult Instance::exec(const std::vector<std::string>& command, Deadline deadline) {
  const auto process = start_exec({.command = command}, deadline);
  const auto late = [&] {
    return Error(Code::timeout, "exec of '" + command[0] + "' in instance " + id() + " did not end in time; it was killed");
  };
  ExecResult result;
  LogCursor cursor{.follows = true};
  const Log& log = process->log();
  log.follow();
  for (;;) {
    const bool closed = log.closed();  // before the reading: what is written until then is read now
    const auto pieces = log.read(cursor);
    for (const LogPiece& piece : pieces) (piece.stream == Stream::out ? result.out : result.err) += piece.bytes;
    if (pieces.empty() && closed) break;
    if (pieces.empty() && !log.wait_for_line(cursor.line, deadline)) throw late();
  }
  const auto exit = process->wait(deadline);
  if (!exit) throw late();
  result.exit = *exit;
  return result;
}

std::unique_ptr<Instance> Backend::start_kept(const Record&, const Workload& workload, Timeline& timeline) {
  return start(workload, timeline);
}

std::unique_ptr<Instance> Backend::adopt(InstanceDir&, const Workload&, Timeline&) { return nullptr; }

std::string new_instance_id() { return "t" + hex_of(random_bytes(6)); }

}  // namespace tare
