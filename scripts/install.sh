#!/bin/sh
# Installs packages with apt, and prints what apt says only when that fails.
set -eu
here=$(dirname "$0")

apt() {
  "$here/root.sh" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 2>&1 </dev/null
}

# The package lists may be absent or stale: they are fetched only when it fails without.
apt install -y --no-install-recommends "$@" >/dev/null || {
  apt update
  apt install -y --no-install-recommends "$@" >/dev/null
} || {
  apt install -y --no-install-recommends "$@" >&2
  exit 1
}
