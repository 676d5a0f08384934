#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# On a distribution that is not Debian's, ./dev names the packages and stops before it changes anything.
set -u
root=$(dirname "$(readlink -f "$0")")/../..
release=$(mktemp)
trap 'rm -f "$release"' EXIT
printf 'ID=fedora\nID_LIKE="rhel centos"\n' >"$release"
said=$(unshare --mount --propagation private sh -c 'mount --bind "$0" "$(readlink -f /etc/os-release)" && exec "$1" setup' "$release" "$root/dev" 2>&1)
code=$?
[ $code = 3 ] || { echo "exit code $code: $said"; exit 1; }
for word in fedora qemu-system-x86 libvirt-dev -DTARE_BENCHMARK_SOURCE=; do
  case "$said" in *"$word"*) ;; *) echo "'$word' is not in: $said"; exit 1 ;; esac
done
