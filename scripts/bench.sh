#!/bin/sh
# Every Go benchmark, $1 runs each; the output, kept in build/bench.txt, is for benchstat.
set -eu
cd "$(dirname "$0")/.."

scripts/data.sh
mkdir -p build
scripts/go test -run '^$' -bench . -benchmem -count "$1" -timeout 60m ./... >build/bench.txt || {
  cat build/bench.txt
  exit 1
}
cat build/bench.txt
