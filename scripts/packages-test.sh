#!/bin/bash
# Looks through build/packages with lintian, then installs, upgrades, removes and purges
# the packages: in a chroot without a service manager, and in a booted Debian. As root.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/need.sh lintian
lintian --allow-root --fail-on error --display-level '>=error' build/packages/*.deb

arch=$(dpkg --print-architecture)
newer=$(mktemp -d)
root=
trap '[ -z "$root" ] || umount "$root/root"; rm -rf "$newer" $root' EXIT
old=$(echo build/packages/iotsense_*_"$arch".deb) tools=$(echo build/packages/iotsense-tools_*_"$arch".deb)
dpkg-deb --raw-extract "$old" "$newer/tree" # the same, of tomorrow
sed -i 's/^Version: .*/&.1/' "$newer/tree/DEBIAN/control"
echo '# of tomorrow' >>"$newer/tree/etc/iotsense/config.yaml"
dpkg-deb --build --root-owner-group -Zgzip "$newer/tree" "$newer/new.deb" >/dev/null

base=$(scripts/debian-root.sh)
root=$(mktemp -d build/systemd/chroot-XXXXXX)
mkdir "$root/root" "$root/upper" "$root/work"
mount -t overlay -o "lowerdir=$base,upperdir=$root/upper,workdir=$root/work" overlay "$root/root"
cp scripts/packages-guest.sh scripts/guest-lib.sh "$old" "$newer/new.deb" "$tools" "$root/root/usr/lib/"
chroot "$root/root" /usr/lib/packages-guest.sh | tee "$newer/said"
grep -q '^all of it' "$newer/said" || { echo "packages-test: failed in the chroot" >&2; exit 1; }

scripts/systemd-boot.sh scripts/packages-guest.sh scripts/guest-lib.sh:usr/lib/guest-lib.sh \
  "$old:usr/lib/${old##*/}" "$newer/new.deb:usr/lib/new.deb" "$tools:usr/lib/${tools##*/}"
