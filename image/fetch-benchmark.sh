#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fetch-benchmark.sh DESTINATION: unpacks the distribution's source package of Google Benchmark to DESTINATION. libbenchmark-dev has the
# shared library only, and `probe` is linked statically. The system's apt sources stay as they are: source entries are derived from its
# binary entries into a temporary directory. A second call finds the tree there and does nothing.
set -u -o pipefail

fail() { echo "fetch-benchmark: $1" >&2; exit 3; }

[ $# -eq 1 ] || { echo "usage: fetch-benchmark.sh DESTINATION" >&2; exit 2; }
destination=$1
[ -f "$destination/include/benchmark/benchmark.h" ] && exit 0
for tool in apt-get apt-config dpkg-source; do
  command -v "$tool" >/dev/null || fail "$tool is missing: this needs Debian or Ubuntu with the package dpkg-dev"
done

mkdir -p "$(dirname "$destination")" || fail "cannot make the directory of $destination"
work=$(mktemp -d "$(dirname "$destination")/.fetch-XXXXXX") || fail "cannot make a directory beside $destination"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/sources" "$work/lists/partial" "$work/cache/archives/partial" || fail "cannot make a directory in $work"

# Entries of the distribution itself: a vendor's repository that lacks sources would only cost time.
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"')
ours="^(${codename:-stable}|stable)(-[a-z-]+)?(/updates)?\$"

# "deb [options] URI suite component…", a line each.
from_list() {
  awk -v ours="$ours" '$1 == "deb" {
    suite = 3
    if ($2 ~ /^\[/) { suite = 2; while ($suite !~ /\]$/ && suite < NF) suite++; suite += 2 }
    if ($suite ~ ours) { $1 = "deb-src"; print }
  }' "$1"
}

# Stanzas (deb822). One that is switched off stays off, because the whole stanza is copied.
from_sources() {
  awk -v ours="$ours" '
    function flush() { if (binary && wanted) print stanza; stanza = ""; binary = 0; wanted = 0 }
    /^[[:space:]]*$/ { flush(); next }
    /^#/ { next }
    tolower($1) == "types:" { for (i = 2; i <= NF; i++) if ($i == "deb") binary = 1; $0 = "Types: deb-src" }
    tolower($1) == "suites:" { for (i = 2; i <= NF; i++) if ($i ~ ours) wanted = 1 }
    { stanza = stanza $0 "\n" }
    END { flush() }' "$1"
}

eval "$(apt-config shell LIST Dir::Etc::sourcelist/f PARTS Dir::Etc::sourceparts/d)"
number=0
for file in "${LIST:-/etc/apt/sources.list}" "${PARTS:-/etc/apt/sources.list.d}"/*.list "${PARTS:-/etc/apt/sources.list.d}"/*.sources; do
  [ -s "$file" ] || continue
  number=$((number + 1))
  case $file in
    *.sources) from_sources "$file" >"$work/sources/$number.sources" ;;
    *) from_list "$file" >"$work/sources/$number.list" ;;
  esac
done
grep -qs deb-src "$work"/sources/* || fail "no apt source of ${codename:-this distribution} is configured: see /etc/apt/sources.list.d"

# apt drops to its own user for downloads; in a directory of ours it would only warn.
options=(-q -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$work/sources" -o "Dir::State::lists=$work/lists"
  -o "Dir::Cache=$work/cache" -o "APT::Sandbox::User=root" -o "Acquire::Languages=none" -o "Acquire::Retries=3")
apt-get "${options[@]}" update >"$work/log" 2>&1 || fail "the source lists could not be read: $(grep -m 1 '^[EW]:' "$work/log")"
(cd "$work" && apt-get "${options[@]}" source benchmark >>log 2>&1) ||
  fail "the source of package benchmark could not be fetched: $(grep -m 1 '^[EW]:' "$work/log" || tail -n 1 "$work/log")"
tree=$(find "$work" -maxdepth 1 -type d -name 'benchmark-*' | head -n 1)
[ -f "$tree/include/benchmark/benchmark.h" ] || fail "package benchmark holds no include/benchmark/benchmark.h"
rm -rf "${destination:?}"
mv "$tree" "$destination" || fail "cannot write $destination"
