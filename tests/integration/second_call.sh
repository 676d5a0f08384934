#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A call of ./dev bench that finds everything in place installs, fetches, configures and compiles nothing: programs that would do so fail
# here, and no file of the build may change. It runs in the source tree of this script, whose build/release is complete.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.." || exit 1
work=$(mktemp -d /var/tmp/tare-second-call-XXXXXX)
trap 'rm -rf "$work"' EXIT

mkdir "$work/bin"
for program in apt-get apt-cache cmake c++ g++ gcc ccache curl wget git; do
  printf '#!/bin/sh\necho "%s $*" >>%s/called\nexit 99\n' "$program" "$work" >"$work/bin/$program"
  chmod +x "$work/bin/$program"
done

# What ninja and ctest keep for themselves, and what other tests work in, is no product of the build.
products() {
  find build/release \( -name Testing -o -name vm-state \) -prune -o -type f ! -name '.ninja_*' -printf '%p %T@\n' | sort
}

products >"$work/before"
[ -s "$work/before" ] || { echo "second_call: there is no build/release" >&2; exit 1; }
PATH="$work/bin:$PATH" ./dev bench smoke --results "$work/results" >"$work/out" 2>"$work/err"
code=$?
products >"$work/after"

failed=0
fail() {
  echo "second_call: $1" >&2
  failed=1
}
case $code in
  0 | 3 | 5) ;; # 3: this host runs no VM; 5: it is too busy to measure anything
  *) fail "./dev bench smoke ended with $code: $(tail -n 5 "$work/err")" ;;
esac
[ ! -e "$work/called" ] || fail "it called: $(cat "$work/called")"
diff "$work/before" "$work/after" >"$work/diff" || fail "it changed the build: $(head -n 5 "$work/diff")"
ls "$work"/results/*/samples.csv >/dev/null 2>&1 || fail "it measured nothing"
exit $failed
