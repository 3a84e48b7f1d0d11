#!/bin/sh
# Fails when gen/ is not what bpf/ compiles to. Another clang release compiles
# to other bytes: then it says so and checks nothing, except with CI=true.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh clang
recorded=$(grep -aho 'clang version [0-9]*' gen/*.o | sort -u)
here=$(clang --version | grep -o 'clang version [0-9]*')
if [ "$recorded" != "$here" ] && [ "${CI:-}" != true ]; then
  echo "gen/ was compiled by $recorded, this is $here: not compared"
  exit 0
fi
scripts/generate.sh
changed=$(git status --porcelain -- gen)
if [ -n "$changed" ]; then
  git --no-pager diff --stat -- gen
  printf 'gen/ is not what bpf/ compiles to; run make generate and commit:\n%s\n' "$changed" >&2
  exit 1
fi
