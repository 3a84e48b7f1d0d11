#!/bin/bash
# Prints the directory of a Debian kernel, fetched once: vmlinuz and modules/*.ko.
#
#   scripts/vm-kernel.sh arm64 trixie linux-image-arm64
#
# apt fetches it with lists of its own under build/vm, so that neither the
# architecture nor the release need be this machine's.
set -euo pipefail
cd "$(dirname "$0")/.."
arch=$1 release=$2 package=$3
modules='veth sch_ingress cls_bpf dummy tun llc stp garp mrp 8021q bridge' # dependencies first

kernel=build/vm/kernel/$release-$package
if [ -e "$kernel/vmlinuz" ]; then
  echo "$kernel"
  exit
fi

scripts/need.sh xz:xz-utils
state=$PWD/build/vm/apt/$release-$arch
mkdir -p "$state/lists/partial" "$state/archives/partial"
touch "$state/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(scripts/debian-mirror.sh) $release main" \
  >"$state/sources.list"
private=(-o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state"
  -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=-
  -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User=root
  -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)

echo "fetching $package of $release" >&2
apt-get -qq "${private[@]}" update >&2
name=$(apt-cache "${private[@]}" show "$package" | sed -nE '0,/^Depends:/s/^Depends: (linux-image-[^ ]+).*/\1/p')
aside=$(mktemp -d "build/vm/.kernel-XXXXXX")
trap 'rm -rf "$aside"' EXIT
(cd "$aside" && apt-get -qq "${private[@]}" download "$name" >&2)
dpkg-deb -x "$aside"/*.deb "$aside"

mkdir -p "$kernel/modules"
number=10
for module in $modules; do
  file=$(find "$aside" -name "$module.ko*")
  case $file in
    *.xz) xz -dc "$file" >"$kernel/modules/$number-$module.ko" ;;
    *) cp "$file" "$kernel/modules/$number-$module.ko" ;;
  esac
  number=$((number + 1))
done
mv "$aside"/boot/vmlinuz-* "$kernel/vmlinuz"
echo "$kernel"
