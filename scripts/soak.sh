#!/bin/sh
# The sensor under kills, stops, floods and a full disk for so long (10m, 2h), as root.
set -eu
cd "$(dirname "$0")/.."

IOTSENSE_SOAK=${1:-10m}
export IOTSENSE_SOAK
exec nice scripts/go test -count=1 -timeout 0 -v -exec "'$PWD/scripts/root.sh'" -run '^TestSoak$' ./cmd/iotsense
