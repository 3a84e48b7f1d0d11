#!/bin/sh
# Runs every fuzz target for $1, one after the other, until one fails.
set -eu
cd "$(dirname "$0")/.."

grep -rl --include='*_test.go' '^func Fuzz' cmd internal pkg | xargs -rn1 dirname | sort -u |
  while read -r package; do
    for target in $(scripts/go test -list '^Fuzz' "./$package" | grep '^Fuzz'); do
      echo "$package $target"
      scripts/go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "./$package" </dev/null
    done
  done
