// SPDX-License-Identifier: Apache-2.0
// Removes network interfaces. Any thread; needs CAP_NET_ADMIN.
#pragma once

#include <string>
#include <vector>

namespace tare::rtnl {

/// Removes all of `names` in the network namespace of the calling thread, and returns as soon as nobody can find them any more, about half
/// a millisecond later: names and addresses are free then. The kernel answers 10–20 ms later, when no CPU can hold a pointer to them
/// (unregister_netdevice_many and netdev_run_todo in its net/core/dev.c); a thread of this process waits for that. A missing one is no
/// error. Throws Error when one cannot be removed.
void remove_links(const std::vector<std::string>& names);

/// Returns when the kernel has answered for all that this process removed so far: for who counts what is left, threads and descriptors
/// included. The end of the process waits for it by itself.
void await_removals();

}  // namespace tare::rtnl
