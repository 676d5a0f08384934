// SPDX-License-Identifier: Apache-2.0
// The program `tare`. The verbs that only talk to an agent are in it, linked statically: dynamic linking with all that an agent needs costs
// ten times what these verbs take. Every other verb is tare-agent's, beside it.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string_view>

#include "agent/cli/verbs.h"
#include "core/error.h"

namespace {

using namespace tare::agent;

constexpr std::array kVerbs = {
    cli::Verb{"attach", cli::attach}, cli::Verb{"exec", cli::exec}, cli::Verb{"logs", cli::logs}, cli::Verb{"ps", cli::ps},
    cli::Verb{"rm", cli::rm},         cli::Verb{"run", cli::run},   cli::Verb{"stop", cli::stop},
};

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (std::any_of(kVerbs.begin(), kVerbs.end(), [&](const cli::Verb& known) { return known.name == verb; })) {
    return cli::run_verb(argc, argv, kVerbs, {});
  }
  std::error_code ignored;
  const std::string whole = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "tare-agent";
  ::execv(whole.c_str(), argv);
  cli::note("tare: " + tare::errno_text("execute " + whole));
  return tare::exit_code(tare::Code::unavailable);
}
