#!/bin/sh
# The long variants of the tests of exactness: 52 million packets on pinned threads
# and 6 million over a pair of interfaces, 10 million frames through both parsers,
# floods of a million flows. With nice 19 on two cores that others kept busy the frames
# took 18 minutes, the packets 2 and the floods half a one.
set -eu
cd "$(dirname "$0")/.."

scripts/data.sh
IOTSENSE_EXACT_LONG=1
export IOTSENSE_EXACT_LONG
exec scripts/go test -count=1 -timeout 90m -v -exec "'$PWD/scripts/root.sh'" -run 'Concurrent|Mutations|Flood' ./pkg/loader
