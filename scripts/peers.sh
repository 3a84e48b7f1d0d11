#!/bin/sh
# Installs the Python packages that tests compare with into build/peers, once for
# each state of bench/peers/requirements.txt. internal/testenv looks there. With a NAME
# those of bench/peers/requirements-NAME.txt into build/NAME.
set -eu
cd "$(dirname "$0")/.."

venv=build/${1:-peers}
wanted=bench/peers/requirements${1:+-$1}.txt
if cmp -s "$wanted" "$venv/installed.txt"; then
  exit 0
fi
scripts/need.sh python3
python3 -c 'import ensurepip' 2>/dev/null || scripts/need.sh /nonexistent:python3-venv
echo "installing the Python packages of $wanted into $venv" >&2
rm -rf "$venv"
python3 -m venv "$venv"
scripts/patiently.sh "installing Python packages" "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$wanted"
cp "$wanted" "$venv/installed.txt"
