#!/bin/sh
# Fails unless every given binary is static and was built without cgo.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh file
for binary in "$@"; do
  kind=$(file -b "$binary")
  echo "$binary: $kind"
  case $kind in
    *"statically linked"*) ;;
    *) echo "$binary is not static" >&2; exit 1 ;;
  esac
  scripts/go version -m "$binary" | grep -q 'CGO_ENABLED=0' || { echo "$binary was built with cgo" >&2; exit 1; }
done
