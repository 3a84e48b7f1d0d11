#!/bin/sh
# Takes the pictures of the page that the documents show, of the demo on the device lab's
# traffic, and what the demo prints. Flags are those of internal/screenshots.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh chromium
scripts/root.sh --ask "run the demo in network namespaces of its own"
scripts/go build -o build/screenshots ./internal/screenshots
scripts/root.sh build/screenshots "$@"
echo "what the demo prints goes into docs/demo.txt: two minutes"
scripts/root.sh bin/iotsense demo >build/demo.txt
cp build/demo.txt docs/demo.txt
