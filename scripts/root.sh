#!/bin/sh
# Runs a command as root: as it is, or through sudo with this environment. The
# home is root's own, so that nothing of root's is left in the user's.
#
#   scripts/root.sh COMMAND...
#   scripts/root.sh --ask WHY     asks for the password now, so that later calls need none
set -eu

fail() {
  echo "root is needed to $why: $1" >&2
  exit 1
}

ask=
why="run '$*'"
if [ "${1:-}" = --ask ]; then
  ask=yes why=$2
fi
if [ "$(id -u)" -ne 0 ]; then
  [ "${IOTSENSE_ROOT:-}" != no ] || fail "it was refused before"
  command -v sudo >/dev/null || fail "there is no sudo here, so run this as root"
  if ! sudo -n true 2>/dev/null; then
    # sudo asks on the terminal itself: the standard input may be anything.
    (: </dev/tty) 2>/dev/null || fail "sudo wants a password, and there is no terminal to ask on: run this as root"
    [ -z "$ask" ] || echo "root is needed to $why: sudo asks for your password now, once" >&2
    sudo -v || fail "sudo refuses, so run this as root"
  fi
fi
[ -z "$ask" ] || exit 0
[ "$(id -u)" -ne 0 ] || exec "$@"
exec sudo -E -H env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u XDG_STATE_HOME \
  -u XDG_RUNTIME_DIR "PATH=$PATH" "$@"
