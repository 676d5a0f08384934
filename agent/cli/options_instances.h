// SPDX-License-Identifier: Apache-2.0
// The options of the verbs that start and handle instances.
#pragma once

#include <string>
#include <vector>

#include "agent/cli/cli11.h"
#include "agent/cli/options.h"

namespace tare::agent::cli {

void declare_instance_verbs(CLI::App& app, Options& options);

/// Takes what follows the first word that is no option of `verb` off `arguments`, which begin with the verb: `tare run -d IMAGE ls -l`
/// leaves ls and -l to the workload.
std::vector<std::string> take_command(const CLI::App& verb, std::vector<std::string>& arguments);

}  // namespace tare::agent::cli
