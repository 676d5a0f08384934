// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/main.h"

#include <array>

#include "agent/cli/verbs.h"
#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent::cli {
namespace {

constexpr std::array kVerbs = {
    Verb{"agent", agent}, Verb{"attach", attach}, Verb{"bench", bench}, Verb{"cancel", cancel},
    Verb{"check", check}, Verb{"doctor", doctor}, Verb{"exec", exec},   Verb{"explain", explain},
    Verb{"logs", logs},   Verb{"ps", ps},         Verb{"rm", rm},       Verb{"run", cli::run},
    Verb{"runs", runs},   Verb{"show", show},     Verb{"stop", stop},   Verb{"version", version},
};

}  // namespace

int run(int argc, const char* const* argv, const MakeBackends& make) noexcept { return run_verb(argc, argv, kVerbs, make); }

std::string run_id(const Client& client, const std::string& run) {
  if (run != "last") return run;
  const auto answer = parse_json(client.get("/tare/v1/runs?limit=1"));
  const auto& list = answer.at("runs").as_array();
  if (list.empty()) throw Error(Code::not_found, "there is no run yet", "`tare bench quickstart` makes one");
  return text_at(list.front(), "id");
}

}  // namespace tare::agent::cli
