// SPDX-License-Identifier: Apache-2.0
// The disk that takes what a guest writes: a sparse copy of an empty ext4 file system that is formatted once for a host. Any thread.
#pragma once

#include <filesystem>

#include "core/paths.h"

namespace tare::vm {

/// The empty file system, made on first use in paths.guest(). Throws Error(unavailable) when mkfs.ext4 is missing.
std::filesystem::path scratch_template(const Paths& paths);
/// Copies a sparse file: by sharing its blocks where the file system can, else data only. Throws Error(exhausted) when the disk is full.
void copy_sparse(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace tare::vm
