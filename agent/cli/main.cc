// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/main.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>

#include "agent/cli/verbs.h"
#include "agent/wire.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent::cli {
namespace {

struct Verb {
  std::string_view name;
  int (*run)(const Options&, const MakeBackends&);
};
constexpr std::array kVerbs = {
    Verb{"agent", agent},   Verb{"bench", bench}, Verb{"cancel", cancel}, Verb{"check", check},
    Verb{"doctor", doctor}, Verb{"runs", runs},   Verb{"show", show},     Verb{"version", version},
};

int report(const Error& e) {
  note("tare: " + e.sentence());
  if (!e.hint().empty()) note("  hint: " + e.hint());
  return exit_code(e.code());
}

}  // namespace

int run(int argc, const char* const* argv, const MakeBackends& make) noexcept {
  try {
    const auto options = parse(argc, argv);
    if (!options) return 0;
    for (const Verb& verb : kVerbs) {
      if (verb.name == options->verb) return verb.run(*options, make);
    }
    throw Error(Code::usage, "unknown command '" + options->verb + "'", "see `tare --help`");
  } catch (const Error& e) {
    return report(e);
  } catch (const AgentGone&) {
    return report(Error(Code::failed, "the agent ended while it was being asked", "look into its log"));
  } catch (const std::exception& e) {
    return report(Error(Code::internal, std::string("internal fault: ") + e.what(), "please report it with the command line"));
  }
}

bool is_terminal(int fd) {
  const char* term = std::getenv("TERM");  // NOLINT(concurrency-mt-unsafe): nothing in tare sets the environment
  return ::isatty(fd) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

bool wants_colour(int fd) {
  const char* no = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe)
  return is_terminal(fd) && (no == nullptr || *no == '\0');
}

int terminal_width(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : 100;
}

void print(const std::string& text) { write_all(STDOUT_FILENO, text, "stdout"); }

void note(const std::string& text) {
  const std::string line = text + "\n";
  // A closed stderr is no reason to fail.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

std::string run_id(const Client& client, const std::string& run) {
  if (run != "last") return run;
  const auto answer = parse_json(client.get("/tare/v1/runs?limit=1"));
  const auto& list = answer.at("runs").as_array();
  if (list.empty()) throw Error(Code::not_found, "there is no run yet", "`tare bench quickstart` makes one");
  return text_at(list.front(), "id");
}

}  // namespace tare::agent::cli
