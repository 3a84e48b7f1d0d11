#!/bin/sh
# Fails when gen/ is not what bpf/ compiles to. Another clang release compiles
# to other bytes: then it says so and checks nothing, except with CI=true.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh clang
recorded=$(cat gen/CLANG_VERSION)
here=$(scripts/clang-version.sh)
if [ "$recorded" != "$here" ] && [ "${CI:-}" != true ]; then
  echo "gen/ was compiled by clang $recorded, this is clang $here: not compared"
  exit 0
fi
scripts/generate.sh
changed=$(git status --porcelain -- gen)
if [ -n "$changed" ]; then
  git --no-pager diff --stat -- gen
  printf 'gen/ is not what bpf/ compiles to; run make generate and commit:\n%s\n' "$changed" >&2
  exit 1
fi
