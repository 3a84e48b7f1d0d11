#!/bin/bash
# Boots a Debian with systemd in a container, with files put into it, and runs a script
# there that prints "all of it" in the end. As root.
#
#   scripts/systemd-boot.sh SCRIPT [FILE:PLACE...]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/need.sh systemd-nspawn:systemd-container
script=$1
shift
base=$(scripts/debian-root.sh)
work=$(mktemp -d build/systemd/boot-XXXXXX)
pins=/sys/fs/bpf/of-${work##*/}
trap 'umount "$work/root"; rm -rf "$work" "$pins"' EXIT
mkdir "$work/root" "$work/upper" "$work/work"
mount -t overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
for pair in "$script:usr/bin/try" "$@"; do
  install -D --mode "$(stat -c %a "${pair%%:*}")" "${pair%%:*}" "$work/root/${pair#*:}"
done
cat >"$work/root/etc/systemd/system/try.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=append:/var/log/try
StandardError=append:/var/log/try
ExecStart=/usr/bin/try
ExecStopPost=systemctl poweroff --force --force
[Install]
WantedBy=multi-user.target
END
chroot "$work/root" systemctl --quiet enable try.service

# The container may do what the sensor needs, and what narrows that; its BPF file system is a
# directory of the machine's.
mount | grep -q ' /sys/fs/bpf type bpf' || mount -t bpf bpf /sys/fs/bpf
mkdir "$pins"
timeout 180 systemd-nspawn --quiet --directory "$work/root" --boot --register=no --keep-unit --private-network \
  --capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON --bind="$pins:/sys/fs/bpf" \
  --system-call-filter='bpf landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
  </dev/null >build/systemd/boot.log 2>&1 || true # it ends by force
cat "$work/root/var/log/try"
grep -q '^all of it' "$work/root/var/log/try" || { echo "systemd-boot: $script failed" >&2; exit 1; }
