#!/bin/bash
# Instructions per inference on arm64, counted under qemu-user: the difference of
# two runs of the engine's benchmarks, so that all else cancels out. For each code
# path and case: all instructions, those that touch memory, vector multiply-adds.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/need.sh qemu-aarch64:qemu-user clang
scripts/data.sh
dir=build/insn-count
mkdir -p "$dir"
clang -Wall -Wextra -O2 -shared -fPIC -o "$dir/plugin.so" bench/insn-count.c

# count BINARY BENCHMARK N: the plugin's three numbers.
count() {
  (cd pkg/model/cnn && GOMAXPROCS=1 GOGC=off qemu-aarch64 -d plugin -D "$OLDPWD/$dir/log" -plugin "$OLDPWD/$dir/plugin.so" \
    "$OLDPWD/$1" -test.run '^$' -test.bench "^$2\$" -test.benchtime "$3x" >/dev/null)
  awk '$1 == "instructions" {print $2, $3, $4}' "$dir/log"
}

few=3389 more=6778 # one and two rounds of the test captures' windows
printf '%-8s %-10s %12s %10s %10s\n' path windows instructions memory fmla
for run in neon:Sliding neon:Cold purego:Sliding purego:Cold; do
  tags=${run%:*}
  binary=$dir/$tags.test
  GOARCH=arm64 CGO_ENABLED=0 scripts/go test -tags "$tags" -c -o "$binary" ./pkg/model/cnn
  read -r a1 m1 f1 < <(count "$binary" "BenchmarkReal${run#*:}" "$few")
  read -r a2 m2 f2 < <(count "$binary" "BenchmarkReal${run#*:}" "$more")
  printf '%-8s %-10s %12d %10d %10d\n' "$tags" "${run#*:}" \
    $(((a2 - a1) / (more - few))) $(((m2 - m1) / (more - few))) $(((f2 - f1) / (more - few)))
done
