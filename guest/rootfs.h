// SPDX-License-Identifier: Apache-2.0
// The guest's file systems: the initramfs' own, then the workload's root: EROFS image below, scratch disk above, as the container's
// overlay. Each returns nullptr, or the step that failed with errno set.
#pragma once

namespace tare::guest::rootfs {

/// /proc, /sys and /dev of the initramfs.
const char* mount_early() noexcept;
/// /dev/vda and /dev/vdb.
const char* mount_disks() noexcept;
/// The overlay of both at /root, with the files of /etc that belong to the instance.
const char* mount_root(const char* hostname, const char* resolver) noexcept;
/// /proc, /sys, /dev, /dev/pts, /dev/shm, /dev/mqueue in it, as a container has them, then makes it the root.
const char* enter_root() noexcept;
/// The root's own mount: what is mounted in it keeps its own word.
const char* make_read_only() noexcept;

/// The files of /etc that belong to the instance, anew in the root that was entered.
const char* rename(const char* hostname, const char* resolver) noexcept;

}  // namespace tare::guest::rootfs
