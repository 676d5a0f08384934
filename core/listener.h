// SPDX-License-Identifier: Apache-2.0
// TCP ports of this host: who has them, and how to keep them. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/workload.h"

namespace tare {

/// The process that listens on TCP `port` of this host, as "nginx (pid 812)"; nothing when it cannot be found.
std::optional<std::string> listener_on(std::uint16_t port);

/// Keeps the host's ports from being taken as long as the descriptors are open: packets for a published port never reach a process that
/// would bind it later. Throws Error(conflict) "<who>: port 8080 is in use by nginx (pid 812)" for the first that is in use.
std::vector<Fd> hold_ports(const std::vector<Publish>& ports, const std::string& who);
/// Those of an adopted instance. A server may have taken one meanwhile: packets reach the instance all the same.
std::vector<Fd> hold_again(const std::vector<Publish>& ports, const std::string& who);

}  // namespace tare
