#!/bin/sh
# Runs every fuzz target for $1, one after the other, until one fails. Inputs of
# interest are hardly minimised: for seeds of 40 KB that alone would take the time.
set -eu
cd "$(dirname "$0")/.."

grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' cmd internal pkg |
  while IFS=: read -r file function; do
    target=${function#func }
    echo "$(dirname "$file") $target"
    scripts/go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x "./$(dirname "$file")" </dev/null
  done
