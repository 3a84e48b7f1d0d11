#!/bin/sh
# Fails unless every given binary is static and was built without cgo, and that for an
# ARM box small.
set -eu
cd "$(dirname "$0")/.."
most=25700000 # bytes of a box's binary for arm64, stripped

scripts/need.sh file
for binary in "$@"; do
  kind=$(file -b "$binary")
  echo "$binary: $kind"
  case $kind in
    *"statically linked"*) ;;
    *) echo "$binary is not static" >&2; exit 1 ;;
  esac
  scripts/go version -m "$binary" | grep -q 'CGO_ENABLED=0' || { echo "$binary was built with cgo" >&2; exit 1; }
  case $binary in
    *iotsense-box-linux-arm64)
      size=$(wc -c <"$binary")
      echo "$binary: $size bytes"
      [ "$size" -le "$most" ] || { echo "$binary has $size bytes, more than $most: see docs/BENCHMARKS.md, \"Size\"" >&2; exit 1; } ;;
  esac
done
