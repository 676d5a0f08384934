// SPDX-License-Identifier: Apache-2.0
// A process that a client sees and feeds: an attached run, an instance it has attached itself to, a further process inside. Output and
// input over one connection.
#pragma once

#include <memory>

#include "agent/instances.h"
#include "agent/source.h"
#include "core/backend.h"

namespace tare::agent {

/// How the two directions are written.
enum class Framing {
  frames,  // frames.h, both ways: input, sizes, signals; the last frame tells the exit
  docker,  // to the client Docker's frames, or with a terminal the bare bytes; from the client the bytes of stdin, whose end is its own
};

/// The output as it comes and then the exit; input and signals on the way back. With `owns` the source's end is the instance's end: the
/// lease of an attached run; it can be given up by {"detach": true}. Without, the output begins with the line that is written now.
std::unique_ptr<Source> attach_source(Instances& instances, std::shared_ptr<LiveInstance> live, bool owns, Framing framing);
/// The same of a further process, which ends with its source.
std::unique_ptr<Source> exec_source(Instances& instances, std::shared_ptr<LiveInstance> live, std::unique_ptr<Exec> exec, bool tty,
                                    Framing framing);

}  // namespace tare::agent
