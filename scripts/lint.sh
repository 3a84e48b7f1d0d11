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
shellcheck scripts/* .ci/run
