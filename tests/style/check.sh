#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a reader should not have to check by eye: format, direction of includes, private third-party headers, file sizes, licence lines.
# Prints each finding as file:line and ends with 1 if there is one.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
found=0
finding() {
  printf '%s\n' "$@"
  found=1
}

mapfile -t sources < <(find core image guest container vm bench agent tests -name '*.cc' -o -name '*.h' | sort)

# Which folders a folder may include (itself always): core ← image ← {container, vm}; core ← bench; agent on top.
declare -A may=([core]="" [image]="core" [guest]="" [container]="core image" [vm]="core image guest" [bench]="core"
  [agent]="core image container vm bench")
for folder in "${!may[@]}"; do
  for other in core image guest container vm bench agent; do
    [ "$folder" = "$other" ] && continue
    case " ${may[$folder]} " in *" $other "*) continue ;; esac
    hits=$(grep -rnE "#include \"$other/" "$folder" --include='*.cc' --include='*.h') && finding "$hits" "  $folder/ must not include $other/"
  done
done

# Third-party headers stay private to one folder.
private() {
  local pattern=$1 allowed=$2 hits
  hits=$(grep -nE "#include <($pattern)" "${sources[@]}" | grep -vE "^($allowed|tests)/") && finding "$hits" "  only $allowed may include it"
}
private 'libvirt/' vm
private 'libcgroup|seccomp\.h>' container
private 'yaml-cpp/' 'bench|agent'
private 'prometheus/|boost/beast|boost/asio|CLI/|sqlite3' agent
private 'archive\.h|archive_entry' image
private 'netlink/|nftables/' core

for file in "${sources[@]}"; do
  lines=$(wc -l <"$file")
  [ "$lines" -le 500 ] || finding "$file: $lines lines; over 500 it holds a second noun"
  head -n 1 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || finding "$file:1: no SPDX line"
done

hits=$(grep -nE '\b(TODO|FIXME|XXX)\b' "${sources[@]}") && finding "$hits" "  build it, or say it in an issue"

unformatted=$(clang-format --dry-run -Werror "${sources[@]}" 2>&1 | grep -E 'error:' | cut -d: -f1 | sort | uniq -c)
[ -z "$unformatted" ] || finding "$unformatted" "  ./dev fmt mends the format"

exit $found
