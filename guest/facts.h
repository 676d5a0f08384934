// SPDX-License-Identifier: Apache-2.0
// What a program sees of the guest's machine, from /proc and /sys.
#pragma once

#include "guest/protocol.h"

namespace tare::guest {

/// Its text lies in a buffer of the callee's, until the next call.
Facts read_facts() noexcept;

}  // namespace tare::guest
