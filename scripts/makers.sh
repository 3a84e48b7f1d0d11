#!/bin/sh
# Packs the listings of Debian's package ieee-data into pkg/facts/makers. They are newer
# in later releases: a package of theirs unpacked elsewhere is named by IEEE_DATA=DIR.
set -eu
cd "$(dirname "$0")/.."

dir=${IEEE_DATA:-/usr/share/ieee-data}
[ -r "$dir/oui36.csv" ] || { echo "$dir has no oui36.csv: apt install ieee-data, or name another directory with IEEE_DATA=" >&2; exit 1; }
cd pkg/facts/makers
../../../scripts/go run generate.go "$dir"
