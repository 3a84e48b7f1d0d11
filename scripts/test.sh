#!/bin/sh
# go vet and every test. As root, or where sudo works, the tests that load
# programs into the kernel run too: only the test binaries get root.
set -eu
cd "$(dirname "$0")/.."

scripts/ready.sh test || {
  echo "make test: without root, and without the tools above if any: tests that need them are skipped" >&2
  export IOTSENSE_ROOT=no # asked once
}
scripts/data.sh
{ scripts/peers.sh && scripts/axe.sh; } || echo "make test: what needs Python packages is skipped" >&2
scripts/patiently.sh "compiling and vetting" scripts/go vet ./...

set -- -count=1 -timeout 10m ./...
if [ "$(id -u)" -ne 0 ] && [ "${IOTSENSE_ROOT:-}" != no ]; then
  set -- -exec "'$PWD/scripts/root.sh'" "$@"
fi
# `go test` prints a package only when all before it are done, and the first one is
# the longest: its JSON tells each at its end. Python leaves no files of root's here.
export PYTHONDONTWRITEBYTECODE=1
exec scripts/patiently.sh "testing" scripts/go tool gotestsum --format standard-quiet --hide-summary skipped \
  --raw-command -- scripts/go test -json "$@"
