#!/bin/bash
# Makes build/packages/*: Debian packages for amd64 and arm64, an archive for OpenWrt, a
# folder for Home Assistant. It takes what `make cross man completions` have made.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

out=build/packages
rm -rf "$out"
mkdir -p "$out"
# v1.2-3-gabc of git is 1.2+3.gabc; before any tag the time of the commit counts.
if version=$(git describe --tags --match 'v[0-9]*' 2>/dev/null); then
  version=$(sed -E 's/^v//; s/-([0-9]+)-g/+\1.g/' <<<"$version")
else
  version=0~$(git log -1 --format=%cd.g%h --date=format:%Y%m%d%H%M%S)
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH VERSION=$version ARCH

# share PACKAGE DIR: its licence, notices and changes below DIR/share/doc.
share() {
  local doc=$2/doc/$1
  mkdir -p "$doc" "$2/lintian/overrides"
  cp dist/debian/copyright "$doc/"
  gzip -9nc THIRD_PARTY_NOTICES >"$doc/THIRD_PARTY_NOTICES.gz"
  { printf '%s (%s) unstable; urgency=medium\n\n  * See /usr/share/doc/%s/CHANGELOG.md.gz.\n\n' "$1" "$VERSION" "$1"
    printf ' -- The iotsense authors <iotsense@users.noreply.github.com>  %s\n' "$(date -uRd "@$SOURCE_DATE_EPOCH")"; } | gzip -9nc >"$doc/changelog.gz"
  gzip -9nc CHANGELOG.md >"$doc/CHANGELOG.md.gz"
  printf '%s: statically-linked-binary\n' "$1" >"$2/lintian/overrides/$1"
}

# words PROGRAM NAME DIR: what its command line is, in pages and completions, as NAME.
words() {
  mkdir -p "$3/man/man1" "$3/bash-completion/completions" "$3/zsh/vendor-completions" "$3/fish/vendor_completions.d"
  "$1" man --as "$2" | gzip -9nc >"$3/man/man1/$2.1.gz"
  "$1" completion bash --as "$2" >"$3/bash-completion/completions/$2"
  "$1" completion zsh --as "$2" >"$3/zsh/vendor-completions/_$2"
  "$1" completion fish --as "$2" >"$3/fish/vendor_completions.d/$2.fish"
}

words bin/iotsense-box iotsense "$out/box"
share iotsense "$out/box"
words bin/iotsense iotsense-tools "$out/tools/share"
share iotsense-tools "$out/tools/share"
for unit in dist/iotsense-learn.service dist/iotsense-learn.timer; do
  [ ! -e "$unit" ] || install -D -m 644 -t "$out/tools/lib/systemd/system" "$unit"
done
find "$out" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +

for ARCH in amd64 arm64; do
  for package in iotsense iotsense-tools; do
    scripts/go tool -modfile=tools/go.mod nfpm package --config "dist/debian/$package.yaml" --packager deb --target "$out/" >/dev/null
  done
  tree=$out/openwrt-$ARCH
  install -D "bin/iotsense-box-linux-$ARCH" "$tree/usr/bin/iotsense"
  install -D dist/openwrt/iotsense.init "$tree/etc/init.d/iotsense"
  install -D -m 644 dist/config.yaml "$tree/etc/iotsense/config.yaml"
  mkdir -p "$tree/lib/upgrade/keep.d"
  printf '/etc/iotsense/\n/etc/init.d/iotsense\n/usr/bin/iotsense\n' >"$tree/lib/upgrade/keep.d/iotsense"
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$tree" -cf - . | gzip -9n >"$out/iotsense-openwrt-$ARCH.tar.gz"
  rm -r "$tree"
done

addon=$out/home-assistant/iotsense
mkdir -p "$addon"
cp dist/home-assistant/Dockerfile dist/home-assistant/run.sh dist/home-assistant/build.yaml "$addon/"
sed "s/@VERSION@/$VERSION/" dist/home-assistant/config.yaml >"$addon/config.yaml"
install bin/iotsense-box-linux-amd64 "$addon/iotsense-amd64"
install bin/iotsense-box-linux-arm64 "$addon/iotsense-aarch64"
rm -r "$out/box" "$out/tools"
ls -l "$out"
