// SPDX-License-Identifier: Apache-2.0
// What a failed step of a child means to a user: a sentence with the step and its cause, and a hint. Pure.
#pragma once

#include <string>

#include "container/protocol.h"
#include "core/error.h"

namespace tare::container {

/// "container 'serve': mount overlay: No such device", with the hint that this step and errno call for.
Error error_of(const Refused& refused, const std::string& who);

}  // namespace tare::container
