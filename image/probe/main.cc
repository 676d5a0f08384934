// SPDX-License-Identifier: Apache-2.0
// probe: what the built-in image runs. One static binary, so that metal, container and VM execute the same bytes.
#include <csignal>
#include <cstdio>
#include <string>

#include "image/probe/commands.h"

namespace probe {
namespace {

constexpr char kHelp[] =
    "usage: probe COMMAND\n"
    "  noop                                 end at once with exit code 0\n"
    "  serve --port=N [--bytes=N]           answer every HTTP request with 200 and a body of N bytes (3)\n"
    "  idle                                 print a line, wait for SIGTERM or SIGINT, end with exit code 0\n"
    "  bench [--filter=REGEX] [--min-time=SECONDS] [--directory=PATH]\n"
    "                                       micro-benchmarks; Google Benchmark's JSON on stdout\n"
    "  --version, --help\n";

int run(std::string_view command, const Arguments& arguments) {
  if (command == "noop") return 0;
  if (command == "serve") return serve(arguments);
  if (command == "idle") return idle(arguments);
  if (command == "bench") return bench(arguments);
  if (command == "--version") return std::puts("probe " TARE_VERSION) < 0 ? 1 : 0;
  if (command == "--help") return std::fputs(kHelp, stdout) < 0 ? 1 : 0;
  return wrong_use("no command '" + std::string(command) + "'");
}

}  // namespace

bool option(std::string_view argument, std::string_view name, std::string_view& value) {
  if (!argument.starts_with("--") || !argument.substr(2).starts_with(name)) return false;
  const std::string_view rest = argument.substr(2 + name.size());
  if (!rest.starts_with('=')) return false;
  value = rest.substr(1);
  return true;
}

int wrong_use(std::string_view what) {
  std::fprintf(stderr, "probe: %.*s; see probe --help\n", static_cast<int>(what.size()), what.data());
  return 2;
}

int idle(const Arguments& arguments) {
  if (!arguments.empty()) return wrong_use("idle takes no arguments");
  sigset_t stops;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  // Blocked, then waited for: the first process of a PID namespace gets no signal that it does not ask for.
  sigprocmask(SIG_BLOCK, &stops, nullptr);
  std::puts("idle");
  std::fflush(stdout);
  int number = 0;
  return sigwait(&stops, &number) == 0 ? 0 : 1;
}

}  // namespace probe

int main(int argc, char** argv) {
  if (argc < 2) return probe::wrong_use("no command");
  return probe::run(argv[1], probe::Arguments(argv + 2, argv + argc));
}
