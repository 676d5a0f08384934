// SPDX-License-Identifier: Apache-2.0
// The program `tare`: the command line with the real backends.
#include "agent/cli/main.h"
#include "agent/backends.h"

int main(int argc, char** argv) { return tare::agent::cli::run(argc, argv, tare::agent::make_backends); }
