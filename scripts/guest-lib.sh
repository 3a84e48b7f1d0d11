# shellcheck shell=bash
# What scripts run inside a booted system share: source it.
failed=

# try WHAT COMMAND...: within 15 seconds the command succeeds.
try() {
  local what=$1
  shift
  for _ in $(seq 75); do
    if "$@" >/tmp/said 2>&1; then
      echo "ok: $what"
      return
    fi
    sleep 0.2
  done
  echo "FAILED: $what: $*"
  cat /tmp/said
  systemctl status --no-pager --full 'iotsense*'
  failed=yes
}
# shellcheck disable=SC2317,SC2329 # called by try
says() { systemctl show --property "$2" --value "$1" | grep -qE "$3"; }
# shellcheck disable=SC2317,SC2329
not() { ! "$@"; }
end() { [ -n "$failed" ] || echo "all of it"; }
