#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# base.sh ROOT: the last step of mmdebstrap's: what every image has in common and takes a while.
set -eu
root=$1
# libvirt's QEMU driver looks this user up; the package that makes it would bring a daemon.
chroot "$root" useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin libvirt-qemu
# GRUB's configuration is a file that follows Debian's links to the kernel: a new kernel must not have another generated.
rm -f "$root/etc/kernel/postinst.d/zz-update-grub" "$root/etc/kernel/postrm.d/zz-update-grub"
# What was only needed to get here. mmdebstrap itself removes packages and lists; its own files in /tmp are still needed for that.
find "$root/var/log" -type f -delete
