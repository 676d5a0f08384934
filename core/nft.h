// SPDX-License-Identifier: Apache-2.0
// The packet filter, by libnftables in this process. One thread at a time inside, whoever calls; needs CAP_NET_ADMIN. All calls of a
// process concern the network namespace of the first.
#pragma once

#include <string>

namespace tare::nft {

/// Whether this kernel has nf_tables.
bool is_available();

/// Runs commands in the nft language as one transaction and returns what they print. Throws Error with libnftables' own sentence,
/// Error(unsuited) where the kernel has no nf_tables.
std::string run(const std::string& commands, const std::string& action);

}  // namespace tare::nft
