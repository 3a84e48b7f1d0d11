#!/bin/sh
# Makes the image iotsense of bin/iotsense-box-linux-*: with Docker, for this
# machine, or where none answers with buildah, for amd64 and arm64, in build/images.
set -eu
cd "$(dirname "$0")/.."

if docker info >/dev/null 2>&1; then # without BuildKit it does not say for what it builds
  exec docker build --build-arg "TARGETARCH=$(scripts/go env GOARCH)" -t iotsense -f Dockerfile bin
fi
scripts/need.sh buildah
set -- buildah --root "$PWD/build/images" --runroot "$PWD/build/images-run"
"$@" rmi --force iotsense >/dev/null 2>&1 || true
"$@" build --isolation chroot --platform linux/amd64,linux/arm64 --manifest iotsense -f Dockerfile bin >/dev/null
echo "image iotsense for amd64 and arm64 is in build/images: $* push iotsense ..."
