#!/bin/sh
# Runs a command that is silent for minutes, and says on stderr that it still runs.
# What sudo was asked once it stays asked meanwhile.
#
#   scripts/patiently.sh compiling scripts/go build ./...
set -eu
what=$1
shift

tick() {
  seconds=0
  while sleep 20 >/dev/null 2>&1; do
    seconds=$((seconds + 20))
    echo "... $what, for $((seconds / 60)) min $((seconds % 60)) s" >&2
    [ "$(id -u)" -eq 0 ] || sudo -n -v 2>/dev/null || true
  done
}

tick &
ticker=$!
trap 'kill $ticker 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$@"
