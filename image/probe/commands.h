// SPDX-License-Identifier: Apache-2.0
// The commands of `probe`, the one program of the built-in image. It runs as the first process of an instance, without libraries and
// without a shell. Single-threaded until a benchmark starts threads of its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace probe {

using Arguments = std::vector<std::string_view>;

/// Each returns the exit code of the program: 0, 1 (the work failed) or 2 (wrong use, said on stderr).
int serve(const Arguments& arguments);
int idle(const Arguments& arguments);
int bench(const Arguments& arguments);

/// The value of "--name=value" when `argument` is one with that name; nothing else is touched.
bool option(std::string_view argument, std::string_view name, std::string_view& value);
/// Prints "probe: …" with a pointer to --help and returns 2.
int wrong_use(std::string_view what);

}  // namespace probe
