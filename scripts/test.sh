#!/bin/sh
# go vet and every test. As root, or where sudo works, the tests that load
# programs into the kernel run too: only the test binaries get root.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh tshark iperf3 ethtool bpftool tcpdump ip:iproute2 capsh:libcap2-bin xz:xz-utils ||
  echo "make test: tests that need those tools are skipped" >&2
scripts/data.sh
scripts/peers.sh || echo "make test: comparisons with Python packages are skipped" >&2
scripts/go vet ./...

set -- -count=1 -timeout 10m ./...
if [ "$(id -u)" -ne 0 ]; then
  if scripts/root.sh true; then
    set -- -exec "'$PWD/scripts/root.sh'" "$@"
  else
    echo "make test: tests that need root are skipped" >&2
  fi
fi
exec scripts/go test "$@"
