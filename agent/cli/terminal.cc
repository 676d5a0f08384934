// SPDX-License-Identifier: Apache-2.0
// What all verbs share: the call of one by its name, the one place that prints an error, and the terminal.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "agent/cli/verbs.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent::cli {
namespace {

int report(const Error& e) {
  note("tare: " + e.sentence());
  if (!e.hint().empty()) note("  hint: " + e.hint());
  return exit_code(e.code());
}

}  // namespace

int run_verb(int argc, const char* const* argv, std::span<const Verb> verbs, const MakeBackends& make) noexcept {
  try {
    const auto options = parse(argc, argv);
    if (!options) return 0;
    for (const Verb& verb : verbs) {
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
  const char* term = std::getenv("TERM");  // NOLINT(concurrency-mt-unsafe): no thread sets it
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

}  // namespace tare::agent::cli
