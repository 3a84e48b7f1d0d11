#!/bin/sh
# Prints the path of a Go that is 1.21 or newer: from PATH, /usr/local/go or where
# Debian puts versioned packages.
set -eu

# usable GO: is it 1.21 or newer? Asked outside the module, where it fetches nothing.
usable() {
  version=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
  minor=${version#*go1.}
  minor=${minor%%[!0-9]*}
  [ "${minor:-0}" -ge 21 ]
}

for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
  if [ -x "$go" ] && usable "$go"; then
    echo "$go"
    exit
  fi
done
exit 1
