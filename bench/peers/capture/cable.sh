#!/bin/sh
# The capture measurement over a cable between two machines, such as two Raspberry Pis:
# on each, as root, in a copy of the repository, with nothing else on the cable.
#   cable.sh far  IFACE ADDRESS/LENGTH                    sends; leave it running
#   cable.sh near IFACE ADDRESS/LENGTH FAR-ADDRESS ...    measures; more: flags of bench capture
# For as long as it runs it gives IFACE the address and turns its offloads off.
set -eu

usage() {
  sed -n 's/^#   /  /p' "$0" >&2
  exit 2
}

side=${1:-}
iface=${2:-}
address=${3:-}
case $side in
  far) [ $# -eq 3 ] || usage ;;
  near) [ $# -ge 4 ] || usage ;;
  *) usage ;;
esac

features="tcp-segmentation-offload generic-segmentation-offload generic-receive-offload tx-udp-segmentation"
changed=
server=
offloads_off() {
  for feature in $features; do
    ethtool -k "$iface" | grep -q "^$feature: on" || continue
    if ethtool -K "$iface" "$feature" off; then
      changed="$changed $feature"
    else
      echo "cable.sh: $iface: $feature stays on: packets on the interface may be several on the wire" >&2
    fi
  done
}

restore() {
  trap - EXIT INT TERM
  [ -z "$server" ] || kill "$server"
  ip address del "$address" dev "$iface" 2>/dev/null || :
  for feature in $changed; do
    ethtool -K "$iface" "$feature" on
  done
}

ip link set "$iface" up
ip address add "$address" dev "$iface"
trap restore EXIT
trap 'restore; exit 130' INT TERM
offloads_off

if [ "$side" = far ]; then
  iperf3 -s -B "${address%/*}" &
  server=$!
  wait $server
else
  far=$4
  shift 4
  repository=$(dirname "$0")/../../..
  cd "$repository"
  bin/iotsense bench capture --interface "$iface" --far "$far" --scenarios idle,veth,length --report build/capture-report "$@"
fi
