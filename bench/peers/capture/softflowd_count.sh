#!/bin/sh
# softflowd, as a process that ends at SIGTERM with its statistics: softflowd_count.sh IFACE
set -eu

dir=$(mktemp -d)
softflowd -d -i "$1" -p "$dir/pid" -c "$dir/control" -n 127.0.0.1:9995 >&2 &
trap 'softflowctl -c "$dir/control" statistics; softflowctl -c "$dir/control" exit >/dev/null; rm -rf "$dir"; exit 0' TERM
wait
