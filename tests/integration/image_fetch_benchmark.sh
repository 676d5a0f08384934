#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fetch-benchmark.sh without a network: what it does when there is nothing to do, nothing to fetch from, or nobody who answers.
set -u
fetch=$1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"')
faults=0
check() { # NAME WANTED-CODE WANTED-TEXT
  if [ "$code" != "$2" ] || [[ $text != *"$3"* ]]; then
    echo "FAULT: $1: exit code $code, text: $text"
    faults=1
  fi
}
run() {
  text=$(APT_CONFIG=$work/apt.conf "$fetch" "$@" 2>&1)
  code=$?
}
mkdir "$work/parts"
echo "Dir::Etc::sourcelist \"/dev/null\"; Dir::Etc::sourceparts \"$work/parts\";" >"$work/apt.conf"

run
check "no destination" 2 "usage:"

mkdir -p "$work/there/include/benchmark" && touch "$work/there/include/benchmark/benchmark.h"
run "$work/there"
check "a tree that is there" 0 ""

run "$work/new"
check "no apt source" 3 "no apt source of $codename"

echo "deb [arch=amd64] http://127.0.0.1:9/vendor vendor-suite main" >"$work/parts/vendor.list"
run "$work/new"
check "only a vendor's source" 3 "no apt source of $codename"

echo "deb [trusted=yes] http://127.0.0.1:9/debian $codename main" >"$work/parts/own.list"
run "$work/new"
check "a mirror in a .list that does not answer" 3 "127.0.0.1"

rm "$work"/parts/*
printf 'Types: deb\nURIs: http://127.0.0.1:9/debian\nSuites: %s %s-updates\nComponents: main\nTrusted: yes\n' "$codename" "$codename" >"$work/parts/own.sources"
run "$work/new"
check "a mirror in a .sources that does not answer" 3 "127.0.0.1"

[ -e "$work/new" ] && echo "FAULT: a failed fetch left a tree" && faults=1
[ -z "$(find "$work" -name '.fetch-*')" ] || { echo "FAULT: a failed fetch left its working directory" && faults=1; }
exit $faults
