#!/bin/sh
# iotsense's engine beside other runtimes: installs them (apt: PyTorch; PyPI, in
# build/bench-peers: the rest) and runs bench/peers/compare.py with the arguments
# given. Windows come from the captures in build/data, else from the device lab.
set -eu
cd "$(dirname "$0")/.."

# OpenBLAS, because Debian's PyTorch would else multiply with the reference BLAS,
# several times slower.
scripts/need.sh /usr/bin/python3:python3 /usr/lib/python3/dist-packages/torch:python3-torch \
  /usr/lib/python3/dist-packages/numpy:python3-numpy \
  "/usr/lib/$(uname -m)-linux-gnu/openblas-pthread/libblas.so.3:libopenblas0-pthread"
scripts/data.sh
venv=build/bench-peers
wanted=bench/peers/requirements-bench.txt
if ! cmp -s "$wanted" "$venv/installed.txt"; then
  /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || scripts/need.sh /nonexistent:python3-venv
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv"
  echo "bench-peers: installing what $wanted lists, some 1.5 GB" >&2
  "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$wanted"
  cp "$wanted" "$venv/installed.txt"
fi
manifest=build/data/iot-sentinel/manifest.csv
if [ -e "$manifest" ]; then
  set -- --manifest "$manifest" "$@"
fi
gzip -dc pkg/model/embedded/paper.safetensors.gz >"$venv/paper.safetensors" # of which the runtimes have graphs
export PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" bench/peers/compare.py --python "$venv/bin/python" --model "$venv/paper.safetensors" "$@"
