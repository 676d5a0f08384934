// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/options.h"

#include <algorithm>
#include <iostream>

#include "agent/cli/cli11.h"
#include "agent/cli/options_instances.h"
#include "agent/suggest.h"
#include "core/error.h"

namespace tare::agent::cli {
namespace {

void declare(CLI::App& app, Options& o) {
  app.footer("Example: tare bench quickstart\nDocumentation: README.md");
  const auto json = [&](CLI::App* verb) { verb->add_flag("--json", o.json, "print JSON"); };
  const auto config = [&](CLI::App* verb) { verb->add_option("--config", o.config, "agent.yaml to use"); };

  CLI::App* agent = app.add_subcommand("agent", "run the daemon");
  config(agent);
  agent->add_option("--private", o.private_to, "serve one verb from this run directory until stdin ends")->group("");

  CLI::App* bench = app.add_subcommand("bench", "measure a suite on metal, in a container and in a VM");
  bench->add_option("SUITE", o.suite, "a YAML file, or the name of one in configs/suites")->required();
  bench->add_option("--seed", o.seed, "repeat the order of an earlier run");
  bench->add_option("--results", o.results, "directory in which the run's own is made")->capture_default_str();
  bench->add_option("--backends", o.backends, "only these: metal,container,vm; container:zygote, vm:restored")->delimiter(',');
  bench->add_flag("--quiet", o.quiet, "no progress");
  json(bench);
  config(bench);

  json(app.add_subcommand("runs", "list the runs that are stored"));
  CLI::App* show = app.add_subcommand("show", "print a run's result");
  show->add_option("RUN", o.run, "a run id, or 'last'")->required();
  json(show);
  show->add_flag("--csv", o.csv, "print the samples");
  CLI::App* explain = app.add_subcommand("explain", "say where the time of a run's starts goes, and what would shorten it");
  explain->add_option("RUN", o.run, "a run id, or 'last'")->required();
  json(explain);
  app.add_subcommand("check", "say what is wrong with a suite")->add_option("SUITE", o.suite, "a YAML file, or a name")->required();
  CLI::App* doctor = app.add_subcommand("doctor", "say what this host can measure and what would spoil the numbers");
  json(doctor);
  config(doctor);
  app.add_subcommand("cancel", "end the active run")->add_option("RUN", o.run, "a run id, or 'last'")->required();
  declare_instance_verbs(app, o);
  app.add_subcommand("version", "print the version");
}

std::vector<std::string> verbs(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::App* verb : app.get_subcommands(nullptr)) out.push_back(verb->get_name());
  return out;
}

// CLI11 says no more than that an argument was not expected.
[[noreturn]] void refuse(const CLI::App& verb, const std::string& argument) {
  std::vector<std::string> known;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::string given = argument.substr(0, argument.find('='));
  const bool option = argument.starts_with("-");
  throw Error(Code::usage,
              "tare " + verb.get_name() + ": unexpected " + (option ? "option '" : "argument '") + given + "'" +
                  (option ? did_you_mean(given, known) : ""),
              "see `tare " + verb.get_name() + " --help`");
}

}  // namespace

std::optional<Options> parse(int argc, const char* const* argv) {
  Options options;
  CLI::App app("tare: what a container and a VM cost, weighed against bare metal", "tare");
  declare(app, options);
  app.set_version_flag("--version", [] { return std::string(); })->group("");
  if (argc < 2) {
    std::cerr << app.help();
    throw Error(Code::usage, "no command given", "try `tare bench quickstart`");
  }
  const std::string first = argv[1];
  if (first == "--version") {
    options.verb = "version";
    return options;
  }
  const auto known = verbs(app);
  if (!first.starts_with("-") && std::find(known.begin(), known.end(), first) == known.end()) {
    throw Error(Code::usage, "unknown command '" + first + "'" + did_you_mean(first, known), "see `tare --help`");
  }
  for (CLI::App* verb : app.get_subcommands(nullptr)) verb->allow_extras();
  try {
    std::vector<std::string> arguments(argv + 1, argv + argc);
    if (first == "run" || first == "exec") options.instance_run.command = take_command(*app.get_subcommand(first), arguments);
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    std::cout << (chosen.empty() ? app.help() : chosen.front()->help("tare"));
    return std::nullopt;
  } catch (const CLI::ParseError& e) {
    throw Error(Code::usage, std::string("tare: ") + e.what(), "see `tare --help`");
  }
  const auto chosen = app.get_subcommands();
  if (chosen.empty()) throw Error(Code::usage, "no command given", "see `tare --help`");
  for (const std::string& extra : chosen.front()->remaining()) refuse(*chosen.front(), extra);
  options.verb = chosen.front()->get_name();
  return options;
}

}  // namespace tare::agent::cli
