#!/bin/sh
# The sensor under kills, stops, floods, a full disk and broken brokers for so long (10m, 2h), as
# root. What it leaves to look at is below build/soak.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh mosquitto
IOTSENSE_SOAK=${1:-10m}
IOTSENSE_SOAK_DIR=$PWD/build/soak/$(date +%Y%m%d-%H%M%S)
mkdir -p "$IOTSENSE_SOAK_DIR"
export IOTSENSE_SOAK IOTSENSE_SOAK_DIR
exec nice scripts/go test -count=1 -timeout 0 -v -exec "'$PWD/scripts/root.sh'" -run '^TestSoak$' ./cmd/iotsense
