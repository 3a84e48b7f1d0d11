#!/bin/sh
# Runs a command as root: as it is, or through sudo with this environment.
set -eu
if [ "$(id -u)" -eq 0 ]; then
  exec "$@"
fi
if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
  exec sudo -E env "PATH=$PATH" "$@"
fi
echo "'$*' needs root, and sudo is missing or refuses: run this as root" >&2
exit 1
