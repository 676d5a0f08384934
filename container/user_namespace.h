// SPDX-License-Identifier: Apache-2.0
// The user namespace of a container: made before its process, because its mounts and its network belong to it. A namespace lives as long
// as a descriptor of it. Any thread; needs root of the host.
#pragma once

#include <cstdint>
#include <string>

#include "container/plan.h"
#include "core/fd.h"
#include "core/workload.h"

namespace tare::container {

/// Its ids 0–65535 are the host's from `first` on. Throws Error with a hint where this host allows no user namespaces.
Fd make_user_namespace(std::uint32_t first);

/// A network namespace that belongs to it, so that capabilities of its processes hold there. Its loopback is down.
Fd make_network_namespace(int user_namespace);

/// Gives a tree that is mounted nowhere the ids of the user namespace: a file of the disk's user n is the namespace's user n, and so is one
/// that is made there. `path` is for the sentence. Throws Error(unsuited) that names the kernel's feature.
void map_ids(int tree, int user_namespace, unsigned flags, const std::string& path);

/// Throws Error(unsuited) for what cannot be had with `userns: auto`: metal, and a namespace of the host's whose view of the kernel the
/// container could then not mount.
void check_user_namespace(const Workload& workload, bool is_container, const std::string& who);
/// Throws Error(unsuited) for a user or group beyond the ids of the namespace.
void check_ids(const ProcessAttributes& attributes, const std::string& who);

}  // namespace tare::container
