// SPDX-License-Identifier: Apache-2.0
// Packets with descriptors, from a unix socket. Nothing here waits.
#pragma once

#include <string>
#include <vector>

#include "core/fd.h"

namespace tare::container {

enum class Received { nothing, message, end };
Received receive_message(int socket, std::string& message, std::vector<Fd>& fds);

/// The one descriptor that came with a packet before now; none when none did.
Fd receive_descriptor(int socket);

}  // namespace tare::container
