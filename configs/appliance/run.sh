#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [--image FILE] [--uefi] [--port N] [QEMU options]: boots the appliance's image in an emulated machine that has AMD's virtualisation, so
# that there is a /dev/kvm inside, whatever this host has. The machine's disk is 16 GiB in a file beside the image, which itself stays as it
# was built; it is kept for the next call and begins anew with a newer image. The serial console is this terminal (control-A X ends the machine,
# control-A H helps), unless the options name another one with -serial. The agent answers on 127.0.0.1:N.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
image=$here/../../build/appliance/tare-appliance.raw
port=9178 # 9177 is this host's own agent's
firmware=()
die() {
  printf 'appliance: %s\n' "$1" >&2
  exit "${2:-3}"
}

while [ $# -gt 0 ]; do
  case "$1" in
    --image | --port)
      [ $# -ge 2 ] || die "$1 needs a value" 2
      if [ "$1" = --image ]; then image=$2; else port=$2; fi
      shift
      ;;
    --uefi)
      [ -r /usr/share/ovmf/OVMF.fd ] || die "there is no UEFI firmware: install package ovmf"
      firmware=(-bios /usr/share/ovmf/OVMF.fd)
      ;;
    *) break ;;
  esac
  shift
done
[ -s "$image" ] || die "there is no image $image: ./dev appliance builds one"
[[ "$port" =~ ^[0-9]+$ ]] || die "--port needs a number, not '$port'" 2
image=$(readlink -f "$image")
disk=${image%.raw}.run.qcow2
[ "$disk" -nt "$image" ] || qemu-img create -q -f qcow2 -F raw -b "$image" "$disk" 16G

console=(-serial mon:stdio)
for option in "$@"; do
  if [ "$option" = -serial ]; then console=(); fi
done
[ ${#console[@]} = 0 ] || printf 'appliance: the agent will answer on http://127.0.0.1:%s/metrics; control-A X ends the machine\n' "$port" >&2
# No model of AMD's has all that TCG lacks, and QEMU says so in twenty lines.
exec qemu-system-x86_64 -name tare-appliance -machine q35 -accel tcg,thread=multi -cpu EPYC,+svm,+npt -smp 2 -m 4G "${firmware[@]}" \
  -nodefaults -display none "${console[@]}" \
  -drive file="$disk",if=virtio,format=qcow2,cache=unsafe,discard=unmap \
  -nic user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:"$port"-:9177 -device virtio-rng-pci "$@" \
  2> >(grep -v --line-buffered "TCG doesn't support" >&2)
