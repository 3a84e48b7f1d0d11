#!/bin/sh
# Prints the directory of an unpacked Debian with systemd, made once by debootstrap. As root.
set -eu
cd "$(dirname "$0")/.."

root=build/systemd/root
scripts/need.sh debootstrap >&2
if [ ! -e "$root/done" ]; then
  rm -rf "$root"
  mkdir -p build/systemd
  scripts/patiently.sh "unpacking a Debian" debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2 \
    bookworm "$root" "$(scripts/debian-mirror.sh)" >build/systemd/debootstrap.log 2>&1 || { tail -n 5 build/systemd/debootstrap.log >&2; exit 1; }
  touch "$root/done"
fi
echo "$root"
