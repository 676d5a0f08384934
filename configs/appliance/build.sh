#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build.sh [-o FILE] [--ssh-key FILE] [--packages "NAME…"]… [--fresh]: the disk image of the appliance, from Debian's packages and the release
# build. docs/appliance.md describes it. Nothing is mounted on this host, and no loop device is used: file systems are written from directories
# into the image. `./dev appliance` installs what this needs, builds tare and calls it.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
source_tree=$(readlink -f "$here/../..")
state=${TARE_STATE_DIR:-/var/lib/tare}
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
umask 022

say() { printf 'appliance: %s\n' "$*" >&2; }
die() {
  say "$1"
  exit "${2:-3}"
}

# mmdebstrap mounts below the tree that it makes: in a mount namespace of ours, whose end unmounts whatever a kill left.
if [ "${1:-}" != --in-namespace ]; then
  [ "$(id -u)" = 0 ] || die "the image holds files of root's: build it as root (sudo ./dev appliance)"
  exec unshare --mount --propagation private "$0" --in-namespace "$@"
fi
shift
# apt without mmdebstrap's configuration would work on this host's lists and packages, and clean them: here they can only be read.
for directory in /var/lib/apt /var/lib/dpkg /var/cache/apt; do
  mount --bind "$directory" "$directory" && mount -o remount,bind,ro "$directory" || die "$directory cannot be made read-only for the build"
done

output=$source_tree/build/appliance/tare-appliance.raw
ssh_key=
fresh=
packages=$(grep -v '^#' "$here/packages" | tr '\n' ' ')
while [ $# -gt 0 ]; do
  case "$1" in
    --fresh) fresh=yes ;;
    -o | --ssh-key | --packages)
      [ $# -ge 2 ] || die "$1 needs a value" 2
      case "$1" in
        -o) output=$2 ;;
        --ssh-key) ssh_key=$2 ;;
        --packages) packages+=" $2" ;;
      esac
      shift
      ;;
    *) die "unknown option '$1' (-o FILE, --ssh-key FILE, --packages \"NAME…\", --fresh)" 2 ;;
  esac
  shift
done
[ -z "$ssh_key" ] || grep -qE '^(ssh|ecdsa|sk-)' "$ssh_key" 2>/dev/null || die "$ssh_key holds no public key of ssh" 2
[ ! -e "$output" ] || [ -f "$output" ] || die "$output is no file: write the image to a file, then copy it to the disk" 2
mkdir -p "$(dirname "$output")"
directory=$(dirname "$output")
exec 9<"$directory"
flock -n 9 || die "another image is being built in $directory"
rm -rf "$directory"/.tare-appliance-?????? # of a build that was killed
work=$(mktemp -d "$directory/.tare-appliance-XXXXXX")
chmod 0755 "$work"
ended() {
  local code=$?
  [ -z "$(findmnt -rno TARGET | grep -F "$work/")" ] || findmnt -rno TARGET | grep -F "$work/" | sort -r | xargs -r umount -l
  rm -rf "$work"
  exit $code
}
trap ended EXIT
trap 'exit 130' INT TERM

# Runs a command whose output only matters when it fails.
quietly() { "$@" >"$work/log" 2>&1 || { tail -n 15 "$work/log" >&2; die "$1 failed"; }; }

# The packages of the shared libraries that tare's programs are linked with, as this host knows them.
library_packages() {
  local file
  ldd "$work/tare/usr/bin/tare-agent" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | while read -r file; do
    file=$(readlink -f "$file")
    dpkg-query -S "$file" 2>/dev/null || dpkg-query -S "${file#/usr}" 2>/dev/null || die "no Debian package holds $file, which tare is linked with"
  done | cut -d: -f1 | sort -u
}

# Where this host gets Debian from, in sources.list's form: nothing but what calls itself Debian.
package_sources() {
  apt-get indextargets --format '$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sed -n 's/^Debian|//p' | sort -u
}

# Debian with the packages: kept below the state directory until the packages or the lists of this host change.
base_tree() {
  local suite sources key base
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  sources=$(package_sources)
  [ -n "$sources" ] || die "this host's package sources name no Debian, or their lists were never read: run apt-get update on a Debian"
  key=$({ echo "$suite $packages $sources"; cat "$here/base.sh" "$here/build.sh"; sha256sum /var/lib/apt/lists/*InRelease 2>/dev/null || true; } | sha256sum | cut -c 1-16)
  base=$state/appliance/base-$key.tar.zst
  if [ ! -s "$base" ] || [ -n "$fresh" ]; then
    say "installing Debian's $suite into a directory (some minutes, kept for the next time)"
    mkdir -p "$state/appliance"
    mkdir "$work/base"
    # An initramfs takes along the fsck of the root's type, which cannot be looked up here.
    quietly mmdebstrap --mode=root --variant=minbase --format=directory --aptopt='APT::Install-Recommends "false"' \
      --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" && echo FSTYPE=ext4 >"$1/etc/initramfs-tools/conf.d/tare"' \
      --customize-hook="$here/base.sh \"\$1\"" --include="$packages" "$suite" "$work/base" - <<<"$sources"
    tar -C "$work/base" --xattrs --xattrs-include='*' --numeric-owner -cf - . | zstd -q -1 -T0 -o "$work/base.tar.zst"
    rm -rf "$work/base" "$state"/appliance/base-*.tar.zst
    mv "$work/base.tar.zst" "$base"
  fi
  mkdir "$work/root"
  zstd -dcq "$base" | tar -C "$work/root" --xattrs --xattrs-include='*' --numeric-owner -xpf -
}

# What makes a tare appliance of a Debian.
add_tare() {
  local root=$work/root
  cp -a "$work/tare/." "$root/"
  cp -r "$here/root" "$work/files"
  chmod -R u=rwX,go=rX "$work/files" # whatever the checkout's umask was
  cp -r --preserve=mode "$work/files/." "$root/"
  sed -i "s/@ROOT@/$root_id/; s/@DATA@/$data_id/" "$root/etc/fstab" "$root/boot/grub/grub.cfg"
  if [ -n "$ssh_key" ]; then
    install -d -m 0700 "$root/root/.ssh"
    install -m 0600 "$ssh_key" "$root/root/.ssh/authorized_keys"
  fi
  mkdir -p "$root/var/lib/tare"
  quietly systemctl --root "$root" enable systemd-networkd systemd-resolved systemd-timesyncd tare-agent tare-hostname ssh
  # Nothing waits for the network, and nothing starts by itself in the middle of a measurement.
  quietly systemctl --root "$root" disable systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer
  # Who this machine is, is found at its first boot.
  : >"$root/etc/machine-id"
  rm -f "$root/etc/hostname" "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed"
  ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
}

# The data partition comes with the guests' kernel, so that a VM can be started without a network.
data_tree() {
  local kernel
  mkdir -p "$work/data/kernels" "$work/data/results"
  kernel=$(find "$state/kernels" -mindepth 2 -maxdepth 2 -name vmlinuz 2>/dev/null | sort -V | tail -n 1)
  [ -n "$kernel" ] || die "there is no guest kernel in $state/kernels: guest/fetch-kernel.sh $state/kernels unpacks one"
  cp -a "$(dirname "$kernel")" "$work/data/kernels/"
}

# The partitions' places, in sectors of 512 bytes, by name.
declare -A start size
make_partitions() {
  local name
  truncate -s 5184M "$image" # the partitions of disk.sfdisk, and room for both partition tables
  quietly sfdisk -q "$image" <"$here/disk.sfdisk"
  for name in tare-bios tare-efi tare-root tare-data; do
    read -r "start[$name]" "size[$name]" < <(sfdisk --dump "$image" | sed -n "s/.*start= *\([0-9]*\), size= *\([0-9]*\),.*name=\"$name\".*/\1 \2/p") ||
      die "sfdisk made no partition $name"
  done
}

# write_ext4 NAME UUID DIRECTORY: into its partition. GRUB 2.06 cannot read the two features that are switched off.
write_ext4() {
  quietly mkfs.ext4 -q -F -L "$1" -U "$2" -O ^metadata_csum_seed,^orphan_file -m 1 -d "$3" \
    -E "offset=$((${start[$1]} * 512)),lazy_itable_init=1,lazy_journal_init=1" "$image" "$((${size[$1]} / 2))k"
}

# UEFI: shim and GRUB as Debian signed them, at the place where firmware looks on a disk that it does not know.
write_efi() {
  local esp=$work/esp file=$work/root/usr/lib
  printf 'search.fs_uuid %s root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' "$root_id" >"$work/efi.cfg"
  truncate -s "$((${size[tare-efi]} * 512))" "$esp"
  quietly mkfs.vfat -F 32 -n TARE-EFI "$esp"
  quietly mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/debian
  quietly mcopy -i "$esp" "$file/shim/shimx64.efi.signed" ::/EFI/BOOT/BOOTX64.EFI
  quietly mcopy -i "$esp" "$file/shim/mmx64.efi.signed" ::/EFI/BOOT/mmx64.efi
  quietly mcopy -i "$esp" "$file/grub/x86_64-efi-signed/grubx64.efi.signed" ::/EFI/BOOT/grubx64.efi
  quietly mcopy -i "$esp" "$work/efi.cfg" ::/EFI/debian/grub.cfg
  dd if="$esp" of="$image" bs=512 seek=${start[tare-efi]} conv=notrunc,sparse status=none
}

# little_endian NUMBER BYTES
little_endian() {
  local i
  for ((i = 0; i < $2; i++)); do printf "\\x$(printf %02x $((($1 >> (8 * i)) & 255)))"; done
}
# poke FILE OFFSET: stdin into the file at that byte.
poke() { dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# BIOS: what grub-install does, without a device. boot.img is told the sector of the core image, and its first sector where the rest is:
# GRUB_BOOT_MACHINE_KERNEL_SECTOR, GRUB_BOOT_MACHINE_DRIVE_CHECK and the last block list of diskboot.S.
write_bios() {
  local grub=$work/root/usr/lib/grub/i386-pc first=${start[tare-bios]}
  printf 'search.fs_uuid %s root\nset prefix=($root)/boot/grub\n' "$root_id" >"$work/root/tmp/early.cfg"
  quietly chroot "$work/root" grub-mkimage -O i386-pc -o /tmp/core.img -p /boot/grub -c /tmp/early.cfg \
    biosdisk part_gpt ext2 search_fs_uuid normal linux serial terminal echo ls cat test halt reboot
  cp "$grub/boot.img" "$work/boot.img"
  little_endian "$first" 8 | poke "$work/boot.img" $((0x5c))
  printf '\x90\x90' | poke "$work/boot.img" $((0x66))
  little_endian $((first + 1)) 8 | poke "$work/root/tmp/core.img" $((0x200 - 12))
  [ "$(stat -c %s "$work/root/tmp/core.img")" -le $((${size[tare-bios]} * 512)) ] || die "GRUB's core image does not fit into its partition"
  dd if="$work/root/tmp/core.img" of="$image" bs=512 seek="$first" conv=notrunc status=none
  dd if="$work/boot.img" of="$image" bs=440 count=1 conv=notrunc status=none # what follows is the partition table
  rm "$work/root/tmp/core.img" "$work/root/tmp/early.cfg"
}

quietly env DESTDIR="$work/tare" cmake --install "$source_tree/build/release" --prefix /usr
packages+=" $(library_packages | tr '\n' ' ')"
root_id=$(cat /proc/sys/kernel/random/uuid)
data_id=$(cat /proc/sys/kernel/random/uuid)
base_tree
say "writing the image"
add_tare
data_tree
image=$work/image.raw
make_partitions
write_bios
write_efi
write_ext4 tare-root "$root_id" "$work/root"
write_ext4 tare-data "$data_id" "$work/data"
mv "$image" "$output"
say "$output: $(du -h --apparent-size "$output" | cut -f 1), $(du -h "$output" | cut -f 1) on this disk"
