#!/bin/sh
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh shellcheck
unformatted=$("$(scripts/go env GOROOT)/bin/gofmt" -l .)
if [ -n "$unformatted" ]; then
  echo "not gofmt-ed:" "$unformatted" >&2
  exit 1
fi
scripts/go vet ./...
scripts/go tool staticcheck ./...
shellcheck scripts/* bench/peers/capture/*.sh .ci/run dist/debian/p* dist/openwrt/iotsense.init dist/home-assistant/run.sh
scripts/notices.sh --check
if command -v systemd-analyze >/dev/null; then # it wants the program to be there
  mkdir -p build/units
  for unit in dist/*.service dist/*.timer; do
    sed 's#^ExecStart=[^ ]*#ExecStart=/bin/true#' "$unit" >build/units/"${unit##*/}"
  done
  systemd-analyze verify --man=no build/units/*
fi
