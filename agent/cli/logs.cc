// SPDX-License-Identifier: Apache-2.0
// `tare logs`: what an instance has written, and with --follow what it writes.
#include <unistd.h>

#include <ctime>

#include "agent/cli/frame_output.h"
#include "agent/cli/verbs.h"
#include "agent/private_agent.h"
#include "core/error.h"
#include "core/units.h"

namespace tare::agent::cli {
namespace {

// "10m" is ten minutes ago; a number is unix time.
std::string since_text(const std::string& text) {
  if (text.find_first_not_of("0123456789.") == std::string::npos) return text;
  const double ago = std::chrono::duration<double>(parse_duration(text)).count();
  return std::to_string(static_cast<double>(std::time(nullptr)) - ago);
}

}  // namespace

int logs(const Options& options, const MakeBackends&) {
  Interrupt interrupt;
  const AgentSession session(Paths::from_environment(), options.config);
  std::string target =
      "/tare/v1/instances/" + percent_encoded(options.instances.at(0)) + "/log?timestamps=" + (options.timestamps ? "1" : "0");
  if (options.follow) target += "&follow=1";
  if (!options.tail.empty()) target += "&tail=" + percent_encoded(options.tail);
  if (!options.since.empty()) target += "&since=" + percent_encoded(since_text(options.since));
  Client::Opened stream = session.client().open("GET", target);
  write_frames(stream, interrupt, [](int number) { ::_exit(128 + number); });
  return 0;
}

}  // namespace tare::agent::cli
