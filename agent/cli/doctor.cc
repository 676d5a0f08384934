// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "agent/cli/verbs.h"
#include "agent/doctor.h"
#include "agent/private_agent.h"
#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent::cli {
namespace {

// A host on which not even an agent starts still gets its examination, without the backends.
Examination alone(const Paths& paths, const Error& why) {
  Examination out;
  out.host = bench::host_context();
  out.checks = host_checks(paths, out.host);
  out.checks.push_back({"agent", Check::Verdict::fail, "no agent can run here: " + why.sentence(), why.hint()});
  return out;
}

Examination ask(const Options& options) {
  const Paths paths = Paths::from_environment();
  try {
    const AgentSession session(paths, options.config);
    return examination_from(parse_json(session.client().get("/tare/v1/host?fresh=1")));
  } catch (const Error& e) {
    return alone(paths, e);
  }
}

std::string line(const Check& check, bool colour) {
  struct Sign {
    const char* text;
    const char* paint;
  };
  static constexpr Sign kSigns[] = {{"✓ ok  ", "\033[32m"}, {"! warn", "\033[33m"}, {"✗ fail", "\033[31m"}};
  const Sign& sign = kSigns[static_cast<std::size_t>(check.verdict)];
  std::string out = colour ? std::string(sign.paint) + sign.text + "\033[0m" : sign.text;
  out += "  " + check.sentence + "\n";
  if (check.verdict != Check::Verdict::ok && !check.remedy.empty()) out += "          mend: " + check.remedy + "\n";
  return out;
}

}  // namespace

int doctor(const Options& options, const MakeBackends&) {
  const Examination found = ask(options);
  if (options.json) {
    print(boost::json::serialize(to_json(found)) + "\n");
  } else {
    std::string out;
    for (const Check& check : found.checks) out += line(check, wants_colour(STDOUT_FILENO));
    out += found.fit() ? "\nAll backends can run here.\n" : "\nNot every backend can run here.\n";
    print(out);
  }
  return found.fit() ? 0 : exit_code(Code::unsuited);
}

}  // namespace tare::agent::cli
