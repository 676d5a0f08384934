// SPDX-License-Identifier: Apache-2.0
#include "agent/version.h"

#include "agent/cli/verbs.h"

namespace tare::agent::cli {

int version(const Options&, const MakeBackends&) {
  print("tare " + kVersion + " (" + kRevision + ", " + kCompiler + ")\n");
  return 0;
}

}  // namespace tare::agent::cli
