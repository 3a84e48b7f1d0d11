#!/bin/sh
# Puts axe-core, which tests ask what keeps people from using a page, into build/axe: out of a
# Python package that carries it, without what that one needs. Wants the Python of peers.sh.
set -eu
cd "$(dirname "$0")/.."

wanted=axe-playwright-python==0.1.8
if [ "$(cat build/axe/installed.txt 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi
rm -rf build/axe
scripts/patiently.sh "installing axe-core" build/peers/bin/pip install --quiet --disable-pip-version-check \
  --no-deps --only-binary :all: --target build/axe "$wanted"
echo "$wanted" >build/axe/installed.txt
