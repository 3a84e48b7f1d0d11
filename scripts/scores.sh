#!/bin/sh
# The pages of the data set and the scores on it, each in build/scores/NAME:
# analyze.html or evaluate.html, the JSON beside it, pictures, the text in NAME.txt.
# scripts/scores.sh NAME... makes only those named. The last four train models, as the
# Makefile does the embedded ones; FLAGS='--epochs 3' makes that short. table prints the
# tables that docs/MODEL.md opens with, and trains simpler models for them.
set -eu
cd "$(dirname "$0")/.."

scripts/data.sh
data=build/data/iot-sentinel
out=build/scores
mkdir -p "$out"

# score NAME FLAGS...: the page of a score.
score() {
  name=$1
  shift
  bin/iotsense evaluate --report "$out/$name" "$@" >"$out/$name.txt"
  echo "== $name: bin/iotsense evaluate $*"
  sed -n '/^ FIGURE/,$p' "$out/$name.txt"
}

# trained NAME TRAIN-FLAGS -- FLAGS...: the same of a model trained for it.
trained() {
  name=$1
  shift
  flags=
  while [ "$1" != -- ]; do
    flags="$flags $1"
    shift
  done
  shift
  # shellcheck disable=SC2086 # lists of words
  bin/iotsense train $flags --validation 0.1 --seed 1 --threads 2 ${FLAGS:-} -o "$out/$name.safetensors"
  score "$name" --model "$out/$name.safetensors" "$@"
}

manifest="--manifest $data/manifest.csv"
hue=HueBridge,HueSwitch
twins='--merge SmarterCoffee,iKettle2 --merge TP-LinkPlugHS100,TP-LinkPlugHS110
  --merge D-LinkSiren,D-LinkWaterSensor,D-LinkSensor --merge EdimaxPlug1101W,EdimaxPlug2101W'

# shellcheck disable=SC2086,SC2048 # lists of words
for name in ${*:-data test without-hue twins-merged stress person unit table}; do
  case $name in
    data) bin/iotsense analyze $manifest --leaks --report "$out/data" >"$out/data.txt" ;;
    test) score test $manifest --split test ;;
    without-hue) score without-hue $manifest --split test --leave-out $hue ;;
    twins-merged) score twins-merged $manifest --split test $twins ;;
    stress) # changed, and beside both halves of the strangers
      score stress $manifest --split test --stress --strangers build/data/strangers/report.csv
      score strangers $manifest --split test --strangers build/data/strangers/thresholds.csv
      ;;
    scrubbed) trained scrubbed $manifest --split train --scrub -- $manifest --split test ;;
    scrubbed-paper) trained scrubbed-paper $manifest --split train --scrub --arch paper -- $manifest --split test ;;
    person) # who set the devices up: trained on C's captures, tested on A's
      awk -F, -v OFS=, 'NR > 1 { $5 = substr($1, index($1, "/Setup-") + 7, 1) } 1' $data/manifest.csv >$data/person.csv
      trained person --manifest $data/person.csv --split C -- --manifest $data/person.csv --split A
      ;;
    unit) # of the types with two units: trained on one, tested on the other
      trained unit $manifest --split-by unit --folds 2 -- $manifest --split-by unit --folds 2
      ;;
    table)
      scripts/peers.sh baselines
      "$0" scrubbed scrubbed-paper >&2
      build/baselines/bin/python bench/peers/baselines.py "$out" >"$out/table.md"
      cat "$out/table.md"
      ;;
    *) echo "scores.sh: no score $name" >&2 && exit 2 ;;
  esac
done
