#!/bin/sh
# Makes a data set that is larger than memory, and takes hardly any disk: the
# device lab's captures, each listed many times under another name, and their
# records in many files that are one.
#
#   scripts/bigset.sh DIR [COPIES]
#   /usr/bin/time -v bin/iotsense train --arch paper --manifest DIR/manifest.csv --epochs 1 \
#     --max-per-class 0 -o DIR/model.safetensors
#   /usr/bin/time -v bin/iotsense train --arch paper DIR/records --epochs 1 \
#     --max-per-class 0 -o DIR/model.safetensors
#
# 235 copies, the default, are 2 million windows of 67,680 captures, or of 235
# files of 14 MB.
set -eu
[ $# -ge 1 ] || { echo "usage: scripts/bigset.sh DIR [COPIES]" >&2; exit 2; }
dir=$1 copies=${2:-235}
root=$(cd "$(dirname "$0")/.." && pwd)

mkdir -p "$dir/records"
"$root/bin/iotsense" lab "$dir/lab" --units 6 --captures 4 --seed 5
"$root/bin/iotsense" extract --manifest "$dir/lab/manifest.csv" -o "$dir/lab.parquet"
n=0
while [ "$n" -lt "$copies" ]; do
  ln -sfn lab "$dir/copy-$n"
  ln -f "$dir/lab.parquet" "$dir/records/$n.parquet"
  n=$((n + 1))
done
awk -v copies="$copies" -F, 'NR == 1 { print; next }
  { line[NR] = $0 }
  END { for (n = 0; n < copies; n++) for (i = 2; i <= NR; i++) print "copy-" n "/" line[i] }' \
  "$dir/lab/manifest.csv" >"$dir/manifest.csv"
echo "$copies copies of the device lab listed in $dir/manifest.csv, their records in $dir/records"
