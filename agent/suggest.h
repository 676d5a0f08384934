// SPDX-License-Identifier: Apache-2.0
// "did you mean": the nearest of the words that would have been right.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tare::agent {

/// " (did you mean 'trials'?)", or nothing when no word of `known` is near `word`.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

}  // namespace tare::agent
