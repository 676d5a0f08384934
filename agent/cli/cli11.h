// SPDX-License-Identifier: Apache-2.0
// CLI11, for the files that declare options.
#pragma once

// CLI11's headers do not compile under our warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#pragma GCC diagnostic pop
