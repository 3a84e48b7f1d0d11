#!/bin/sh
# Installs with apt what is missing: scripts/need.sh tshark ip:iproute2 /usr/include/x.h:x-dev
# Each argument is a command or a file, with the package that has it when named differently.
set -eu
here=$(dirname "$0")

packages=
for pair in "$@"; do
  command -v "${pair%%:*}" >/dev/null || [ -e "${pair%%:*}" ] || packages="$packages ${pair#*:}"
done
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "missing, and there is no apt here to install it:$packages" >&2
  exit 1
fi

apt() {
  "$here/root.sh" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 2>&1 </dev/null
}

# The package lists may be absent or stale: they are fetched only when it fails without.
install() {
  # shellcheck disable=SC2086 # a list of names
  apt install -y --no-install-recommends $packages
}

"$here/root.sh" true
echo "installing with apt:$packages" >&2
install >/dev/null || {
  apt update
  install >/dev/null
} || {
  install >&2
  exit 1
}
