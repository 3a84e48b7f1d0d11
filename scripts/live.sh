#!/bin/sh
# Live equals offline at length: every test capture at its own speed through
# every hook in both directions, and the accounts under a minute of load each.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh iperf3 tcpdump xz:xz-utils
scripts/data.sh
IOTSENSE_LIVE_LONG=1
export IOTSENSE_LIVE_LONG
exec scripts/go test -count=1 -timeout 30m -v -exec "'$PWD/scripts/root.sh'" -run 'LiveEqualsOffline|AccountingUnderLoad' ./pkg/sensor
