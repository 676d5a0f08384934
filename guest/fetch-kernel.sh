#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fetch-kernel.sh DESTINATION [FLAVOUR]: unpacks Debian's newest kernel to DESTINATION/<release>/{vmlinuz,modules/} without installing it,
# so the boot loader never sees it: that of guests, "cloud" (default), or the one for all machines, "". Prints the release. A second call
# finds it there and downloads nothing.
set -u -o pipefail

fail() { echo "fetch-kernel: $1" >&2; exit 3; }

[ $# -eq 1 ] || [ $# -eq 2 ] || { echo "usage: fetch-kernel.sh DESTINATION [FLAVOUR]" >&2; exit 2; }
destination=$1
flavour=${2-cloud}
meta=linux-image-${flavour:+$flavour-}$(dpkg --print-architecture) || fail "dpkg is missing: this needs Debian or Ubuntu"

package=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] || fail "package $meta is not in the package lists: run 'apt-get update'"
release=${package#linux-image-}
release=${release%-unsigned}

if [ -s "$destination/$release/vmlinuz" ] && [ -s "$destination/$release/modules/modules.dep" ]; then
  echo "$release"
  exit 0
fi

mkdir -p "$destination" || fail "cannot make $destination"
work=$(mktemp -d "$destination/.fetch-XXXXXX") || fail "cannot make a directory in $destination"
trap 'rm -rf "$work"' EXIT
chmod 0755 "$work"
# apt drops to its own user for a download; in a directory of root's it would warn.
(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package" >apt.log 2>&1) ||
  fail "download of $package failed: $(tail -n 1 "$work/apt.log")"
dpkg-deb -x "$work/$package"_*.deb "$work/tree" || fail "cannot unpack $package: is $destination full?"

mkdir "$work/$release" || fail "cannot make $work/$release"
mv "$work/tree/boot/vmlinuz-$release" "$work/$release/vmlinuz" || fail "$package holds no vmlinuz-$release"
for modules in "$work"/tree/{usr/,}lib/modules/"$release"; do
  if [ -d "$modules" ]; then mv "$modules" "$work/$release/modules"; fi
done
[ -d "$work/$release/modules/kernel" ] || fail "$package holds no modules"
# A package carries no dependency list; depmod wants the modules below lib/modules.
mkdir -p "$work/root/lib/modules" && ln -s "$work/$release/modules" "$work/root/lib/modules/$release"
if ! PATH=$PATH:/usr/sbin:/sbin depmod -b "$work/root" "$release" 2>"$work/depmod.log"; then
  fail "depmod failed: $(tail -n 1 "$work/depmod.log") (package kmod)"
fi
rm -rf "${destination:?}/$release"
mv "$work/$release" "$destination/$release" || fail "cannot write $destination/$release"
echo "$release"
