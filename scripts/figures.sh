#!/bin/sh
# Every command behind docs/BENCHMARKS.md, each one's output in build/figures.
# An hour on two cores that do nothing else; root for the kernel half and live.
# scripts/figures.sh NAME... runs only those named.
set -eu
cd "$(dirname "$0")/.."

scripts/data.sh
out=build/figures
mkdir -p "$out"
manifest=build/data/iot-sentinel/manifest.csv
if [ -e "$manifest" ]; then
  data="--manifest $manifest"
else
  data=
fi
paper=build/paper.safetensors # the page is of the paper's network; its last section of the other
gzip -dc pkg/model/embedded/paper.safetensors.gz >$paper
inference="bin/iotsense bench inference $data --model $paper"

# figure NAME COMMAND: runs the command unless other names were asked for.
figure() {
  name=$1
  shift
  case " $wanted " in
    "  " | *" $name "*) ;;
    *) return 0 ;;
  esac
  echo "== $name: $*"
  { echo "\$ $*"; "$@"; } >"$out/$name.txt.new"
  mv "$out/$name.txt.new" "$out/$name.txt"
  cat "$out/$name.txt"
}

wanted="$*"
# shellcheck disable=SC2086 # lists of words
{
  figure kernel scripts/root.sh bin/iotsense bench kernel
  figure samples scripts/root.sh bin/iotsense bench samples --max-flows 262144 --runs 10
  figure samples-200 scripts/root.sh bin/iotsense bench samples --rate 200 --time 120s
  figure sliding $inference --mode sliding
  figure cold $inference --mode cold
  figure full $inference --mode cold --rows full --batch 1,256
  figure threads $inference --mode sliding --threads "$(nproc)" --batch 1,256
  scripts/go build -tags purego -o build/iotsense-purego ./cmd/iotsense
  figure purego build/iotsense-purego bench inference $data --model $paper --mode sliding --batch 1,256
  figure pipeline bin/iotsense bench pipeline $data --model $paper
  figure live scripts/root.sh bin/iotsense bench live $data --model $paper --devices 440
  figure peers scripts/bench-peers.sh --json build/figures/peers.json
  if [ -n "$data" ]; then
    scripts/need.sh ndpiReader:libndpi-bin p0f prads tshark
    strangers=build/data/strangers
    figure naming bin/iotsense bench naming $data --split test --taxonomy bench/peers/naming-strangers.csv --strangers $strangers/thresholds.csv --strangers $strangers/report.csv || : # two of the captures end in the middle
  fi
}
