#!/bin/bash
# Records what the verifier makes of the programs, on this kernel and on those of
# `make vmtest`, in the table of docs/KERNELS.md. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

doc=docs/KERNELS.md
virtual=(amd64-6.1 amd64-6.12 arm64-6.1 arm64-6.12 arm64-6.12-16k)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts/vmtest.sh figures "${virtual[@]}"
for case in "${virtual[@]}"; do
  cat "build/vm/$case-figures.log"
done >"$work/lines"
scripts/go test -count=1 -run '^TestVerifiedInstructions$' -v ./pkg/loader -record >>"$work/lines"

sed -n 's/^figures: //p' "$work/lines" >"$work/rows"
head=$(grep '^| kernel ' "$work/rows" | sort -u)
if [ "$(wc -l <<<"$head")" -ne 1 ]; then
  echo "kernels.sh: the machines disagree on what there is to load" >&2
  exit 1
fi
{
  echo "$head"
  sed -E 's/[^|]+/ --: /g; s/--:/---/' <<<"$head"
  grep -v '^| kernel ' "$work/rows" | sort -V
} >"$work/table"

awk -v table="$work/table" '
  /^\| kernel \|.*load, ms \|$/ { while ((getline line < table) > 0) print line; inside = 1 }
  inside && !/^\|/ { inside = 0 }
  !inside { print }' "$doc" >"$work/doc"
cat "$work/doc" >"$doc"
cat "$work/table"
