// SPDX-License-Identifier: Apache-2.0
// The verbs of `tare`, one file each. Each returns its exit code or throws Error.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "agent/backends.h"
#include "agent/cli/options.h"
#include "agent/client.h"

namespace tare::agent::cli {

int agent(const Options& options, const MakeBackends& make);
int attach(const Options& options, const MakeBackends& make);
int bench(const Options& options, const MakeBackends& make);
int cancel(const Options& options, const MakeBackends& make);
int check(const Options& options, const MakeBackends& make);
int doctor(const Options& options, const MakeBackends& make);
int exec(const Options& options, const MakeBackends& make);
int explain(const Options& options, const MakeBackends& make);
int logs(const Options& options, const MakeBackends& make);
int ps(const Options& options, const MakeBackends& make);
int rm(const Options& options, const MakeBackends& make);
int run(const Options& options, const MakeBackends& make);
int runs(const Options& options, const MakeBackends& make);
int show(const Options& options, const MakeBackends& make);
int stop(const Options& options, const MakeBackends& make);
int version(const Options& options, const MakeBackends& make);

struct Verb {
  std::string_view name;
  int (*run)(const Options&, const MakeBackends&);
};
/// Parses the command line and calls the verb. Returns the exit code; the only place that prints an error.
int run_verb(int argc, const char* const* argv, std::span<const Verb> verbs, const MakeBackends& make) noexcept;

/// The file that SUITE means: itself, or SUITE.yaml in configs/suites. Throws Error(not_found).
std::filesystem::path suite_file(const std::string& suite);
/// The run that RUN means: "last" is the newest.
std::string run_id(const Client& client, const std::string& run);

/// True when the stream is a terminal that may be drawn on, and NO_COLOR does not forbid colour.
bool is_terminal(int fd);
bool wants_colour(int fd);
int terminal_width(int fd);
/// Writes a result to stdout. Throws Error when stdout is closed or full.
void print(const std::string& text);
/// One line on stderr.
void note(const std::string& text);

}  // namespace tare::agent::cli
