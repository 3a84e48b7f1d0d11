#!/bin/bash
# Follows the indented lines of docs/OPERATIONS.md in a booted system, one after the other:
# what scripts/systemd-boot.sh runs for make operations-test. It is root, without sudo.
set -u
# shellcheck disable=SC1091 # it lies beside, as scripts/guest-lib.sh
. /usr/lib/guest-lib.sh

sudo() { "$@"; }
export USER=nobody DEBIAN_FRONTEND=noninteractive
ip link add eth0 type veth peer name lab1
ip link set eth0 up
ip link set lab1 up
cd /usr/lib/page || exit

lines=0
while IFS= read -r line <&3; do
  lines=$((lines + 1))
  echo "> $line"
  eval "$line" || { echo "FAILED with $?: $line" && failed=yes; }
  case $line in *"restart iotsense" | *"start iotsense") try "it works" iotsense stats ;; esac
done 3< <(sed -nE 's/^(    |       )((sudo|iotsense|systemctl|journalctl|df) .*)$/\2/p' OPERATIONS.md)
# shellcheck disable=SC2034 # end looks at it
[ "$lines" -ge 15 ] || { echo "FAILED: $lines lines found" && failed=yes; }
end
