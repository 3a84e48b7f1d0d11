#!/bin/sh
# Prints the address of the Debian mirror that apt uses here.
set -eu

release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=$(apt-get update --print-uris |
  sed -nE "s#^'(.*)/dists/$release(-updates)?/InRelease'.*#\1#p" |
  grep -v raspberrypi | head -n 1)
if [ -z "$mirror" ]; then
  echo "apt has no Debian source for $release here: add one and run this again" >&2
  exit 1
fi
echo "$mirror"
