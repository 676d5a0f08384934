// SPDX-License-Identifier: Apache-2.0
#include "agent/suggest.h"

#include "core/words.h"

namespace tare::agent {

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const std::string nearest = nearest_word(word, known);
  return nearest.empty() ? "" : " (did you mean '" + nearest + "'?)";
}

}  // namespace tare::agent
