// SPDX-License-Identifier: Apache-2.0
// Words in messages: the nearest right word for a wrong one, and lists. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tare {

/// The word of `known` that `word` was probably meant to be, or "" when none is near. Distance: Damerau–Levenshtein (a swap of
/// neighbours counts once), at most a third of the word.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);
/// "a", "a and b", "a, b and c".
std::string listed(const std::vector<std::string>& words, std::string_view conjunction = "and");

}  // namespace tare
