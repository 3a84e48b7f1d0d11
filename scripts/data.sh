#!/bin/sh
# Unpacks the capture sets into build/data, once, where they lie beside the
# repository; without them it does nothing. internal/testenv looks there too.
set -eu
cd "$(dirname "$0")/.."

# halves DIR cuts a set of strangers by unit into DIR/thresholds.csv, which may set
# thresholds, and DIR/report.csv, which reports: by a digit of the unit's SHA-256,
# so that a unit is in the same half wherever it is met. The report comes last.
halves() {
  IFS= read -r header <"$1/manifest.csv"
  for half in thresholds report; do
    printf '%s\n' "$header" >"$1/$half.part"
  done
  sed 1d "$1/manifest.csv" | while IFS= read -r row; do
    unit=$(printf '%s' "$row" | cut -d, -f4) # what may be quoted comes after it
    case $(printf '%s' "$unit" | sha256sum) in
      [02468ace]*) half=thresholds ;;
      *) half=report ;;
    esac
    printf '%s\n' "$row" >>"$1/$half.part"
  done
  mv "$1/thresholds.part" "$1/thresholds.csv"
  mv "$1/report.part" "$1/report.csv"
}

for set in iot-sentinel:iot-sentinel parser-corpus-tcpdump:tcpdump strangers:strangers; do
  archive=../shared/data/${set%%:*}.tar.xz
  dir=${set#*:}
  if [ ! -e "$archive" ] || [ -e "build/data/$dir" ]; then
    continue
  fi
  scripts/need.sh xz:xz-utils
  mkdir -p build/data
  aside=$(mktemp -d "build/data/.unpack-XXXXXX")
  tar -xJf "$archive" -C "$aside" --no-same-owner
  mv "$aside/$dir" "build/data/$dir"
  rmdir "$aside"
done

# The tests unpack it too, but do not cut it.
if [ -e build/data/strangers/manifest.csv ] && [ ! -e build/data/strangers/report.csv ]; then
  halves build/data/strangers
fi
