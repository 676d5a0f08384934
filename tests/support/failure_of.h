// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "core/error.h"

namespace tare {

/// The code and the words of the Error that `action` throws.
template <typename Action>
std::pair<Code, std::string> failure_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {Code::internal, "no error"};
}

}  // namespace tare
