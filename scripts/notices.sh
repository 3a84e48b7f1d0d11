#!/bin/bash
# Writes THIRD_PARTY_NOTICES: the licences of what is linked into bin/iotsense, for
# amd64 or arm64, each text once. With --check it fails when that file is not current.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C GOOS=linux

# files: "what it is<TAB>a file of its licence", for every linked package the files
# from its own directory up to that of its module.
files() {
  local arch module root dir name
  for name in LICENSE PATENTS; do
    printf 'the Go standard library\t%s\n' "$(scripts/go env GOROOT)/$name"
  done
  for arch in amd64 arm64; do
    GOARCH=$arch scripts/go list -deps -f \
      '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{"\t"}}{{.Dir}}{{"\t"}}{{$.Dir}}{{end}}{{end}}' ./cmd/iotsense
  done | sort -u | while IFS=$'\t' read -r module root dir; do
    while
      find "$dir" -maxdepth 1 -type f | grep -iE '/(licen[cs]e|copying|copyright|notice|patents)[^/]*$' || true
      find "$dir" -path "$dir/licenses/*.txt" -type f
      [ "$dir" != "$root" ]
    do dir=$(dirname "$dir"); done | sed "s#^#$module\t#"
  done
}

notices() {
  local sum file modules text
  echo "iotsense contains the software below, under the licences that follow the names."
  files | sort -u | while IFS=$'\t' read -r module file; do
    text=$(tr -d '\r' <"$file" | sed 's/[[:space:]]*$//')
    sum=$(sha256sum <<<"$text")
    echo "$module" >>"$work/${sum%% *}.modules"
    printf '%s\n' "$text" >"$work/${sum%% *}.text"
  done
  for modules in $(cd "$work" && for file in *.modules; do
    printf '%s\t%s\n' "$(sort -u "$file" | head -n 1)" "$file"
  done | sort | cut -f 2); do
    printf '\n%s\n\n' "================================================================================"
    sort -u "$work/$modules"
    echo
    cat "$work/${modules%.modules}.text"
  done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
notices >"$work/notices"
if [ "${1:-}" != --check ]; then
  cp "$work/notices" THIRD_PARTY_NOTICES
elif ! cmp -s "$work/notices" THIRD_PARTY_NOTICES; then
  echo "THIRD_PARTY_NOTICES is not what the command links: run scripts/notices.sh and commit" >&2
  exit 1
fi
