// SPDX-License-Identifier: Apache-2.0
// What a guest's kernel printed, for the sentence about its end.
#pragma once

#include <filesystem>
#include <string>

namespace tare::vm {

/// "; its kernel panicked: …" with the line that says so, "; its kernel's last line: …" of the console file, at most 200 characters of
/// each; or that it printed nothing.
std::string last_console_line(const std::filesystem::path& console);

}  // namespace tare::vm
