#!/bin/sh
# Unpacks the capture sets into build/data, once, where they lie beside the
# repository; without them it does nothing. internal/testenv looks there too.
set -eu
cd "$(dirname "$0")/.."

for set in iot-sentinel:iot-sentinel parser-corpus-tcpdump:tcpdump; do
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
