#!/bin/sh
# Tests the network's loops and engine on the implementations that this machine
# does not run by itself: NEON under qemu-user, and the build without vector code.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh qemu-aarch64-static:qemu-user-static
packages='./pkg/model ./pkg/model/internal/... ./pkg/model/cnn ./pkg/model/stream'
# shellcheck disable=SC2086 # a list of packages
scripts/go test -count=1 -short -tags purego $packages
# shellcheck disable=SC2086
GOARCH=arm64 scripts/go test -count=1 -short -exec qemu-aarch64-static $packages
