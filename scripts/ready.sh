#!/bin/sh
# What `make build`, `make demo` and `make test` begin with: says what is missing
# and how much that is, asks for root once, and installs what needs it. With
# nothing missing it is silent.
#
#   scripts/ready.sh build|demo|test
set -eu
cd "$(dirname "$0")/.."
target=$1

tools=
case $target in
  test) tools="tshark iperf3 ethtool bpftool tcpdump ip:iproute2 capsh:libcap2-bin python3 ndpiReader:libndpi-bin nfcapd:nfdump" ;;
esac
if [ "$target" != build ] && [ -e ../shared/data ] && [ ! -e build/data/iot-sentinel ]; then
  tools="$tools xz:xz-utils"
fi
if [ "$target" = test ] && ! python3 -c 'import ensurepip' 2>/dev/null; then
  tools="$tools /nonexistent:python3-venv"
fi
# shellcheck disable=SC2086 # a list of pairs
packages=$(scripts/need.sh --plan $tools)

plan='' why='' fetch=''
# will LINE: one thing that is going to be done.
will() { plan="$plan
  $1"; }

if ! scripts/find-go.sh >/dev/null; then
  why="install Go" fetch=yes
  if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then
    will "install with apt: golang-1.23-go, from bookworm-backports, a source that is added: 60 MB to fetch, 260 MB on disk"
  else
    will "install with apt: Go: 60 MB to fetch, 260 MB on disk"
  fi
fi
if [ -n "$packages" ]; then
  why="${why:+$why and }install packages"
  will "install with apt:$packages"
fi
if [ -n "$fetch" ] || ! GOPROXY=off scripts/go list -deps ./cmd/iotsense >/dev/null 2>&1; then
  will "fetch, with Go, into your home: Go $(sed -n 's/^go //p' go.mod) and modules: 290 MB to fetch, 1.4 GB on disk with what is compiled"
  will "compile: some minutes on a small machine"
fi
if [ "$target" = test ] && ! cmp -s bench/peers/requirements.txt build/peers/installed.txt; then
  will "install Python packages to compare with, into build/peers: 130 MB to fetch, 440 MB on disk"
fi
case $target in
  demo) why="${why:+$why, and to }run the demo in network namespaces of its own" ;;
  test) why="${why:+$why, and to }run the tests that load programs into the kernel" ;;
esac

[ -z "$plan" ] || echo "make $target is going to:$plan" >&2
[ -z "$why" ] || scripts/root.sh --ask "$why"
if [ -n "$tools" ]; then
  # shellcheck disable=SC2086
  scripts/need.sh $tools || echo "make $target: goes on without what apt could not install" >&2
fi
scripts/go version >/dev/null
