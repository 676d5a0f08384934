#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install.sh BUILD: what `cmake --install BUILD` copies works where it is put: programs find each other, suites their names, and nothing of the
# build is asked.
set -uo pipefail
build=$1
work=$(mktemp -d /var/tmp/tare-install-XXXXXX)
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
  echo "install: $1" >&2
  failed=1
}

cmake --install "$build" --prefix "$work/usr" >"$work/log" 2>&1 || fail "cmake --install failed: $(tail -n 3 "$work/log")"
for program in probe tare-emulator tare-guard tare-init tare-launcher tare-share fetch-kernel.sh; do
  [ -x "$work/usr/libexec/tare/$program" ] || fail "there is no program libexec/tare/$program"
done
[ -s "$work/usr/share/tare/agent.yaml" ] || fail "there is no share/tare/agent.yaml"
mkdir "$work/empty" && cd "$work/empty" || exit 1
export TARE_STATE_DIR=$work/state TARE_RUN_DIR=$work/run
"$work/usr/bin/tare" check smoke >"$work/out" 2>&1 || fail "tare check smoke: $(cat "$work/out")"
# The helpers are found beside the program: metal needs tare-launcher and probe.
if [ "$(id -u)" = 0 ]; then
  said=$("$work/usr/bin/tare" run --backend metal tare/probe probe noop 2>&1) || fail "tare run: $said"
fi
# Everything is in the tree asked for: nothing in it names the build.
grep -rlF "$build/" "$work/usr/libexec" "$work/usr/share" && fail "these files name the build"
exit $failed
