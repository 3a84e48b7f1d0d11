#!/bin/sh
# Installs with apt what is missing: scripts/need.sh tshark ip:iproute2 /usr/include/x.h:x-dev
# Each argument is a command or a file, with the package that has it when named differently.
# scripts/need.sh --plan ... only says what that would be.
set -eu
here=$(dirname "$0")

plan=
if [ "${1:-}" = --plan ]; then
  plan=yes
  shift
fi
packages=
for pair in "$@"; do
  command -v "${pair%%:*}" >/dev/null || [ -e "${pair%%:*}" ] || packages="$packages ${pair#*:}"
done
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "missing, and there is no apt here to install it:$packages" >&2
  exit 1
fi

# size: what apt would fetch and unpack for the packages; nothing when it has no lists yet.
size() {
  # shellcheck disable=SC2086 # a list of names
  all=$(apt-get -s install --no-install-recommends $packages 2>/dev/null | awk '$1 == "Inst" { print $2 }')
  [ -n "$all" ] || return 0
  # shellcheck disable=SC2086
  apt-cache show --no-all-versions $all | awk '
    $1 == "Package:" { n++ }
    $1 == "Size:" { fetch += $2 }
    $1 == "Installed-Size:" { disk += $2 }
    END { printf " (%d packages with what they need: %.0f MB to fetch, %.0f MB on disk)", n, fetch / 1e6, disk / 1e3 }'
}

if [ -n "$plan" ]; then
  echo "$packages$(size)"
  exit
fi

"$here/root.sh" --ask "install with apt:$packages"
echo "installing with apt:$packages$(size)" >&2
# shellcheck disable=SC2086
exec "$here/patiently.sh" "installing with apt" "$here/install.sh" $packages
