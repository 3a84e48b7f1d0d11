#!/bin/bash
# Boots a Debian with systemd in a container, from debootstrap, and tries the service
# there: dist/*.service, dist/*.socket, bin/iotsense-box. As root; half a minute once
# the system is unpacked in build/systemd.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/need.sh debootstrap systemd-nspawn:systemd-container
root=build/systemd/root
if [ ! -e "$root/done" ]; then
  rm -rf "$root"
  scripts/patiently.sh "unpacking a Debian" debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2 \
    bookworm "$root" "$(scripts/debian-mirror.sh)" >build/systemd.log 2>&1 || { tail -n 5 build/systemd.log >&2; exit 1; }
  touch "$root/done"
fi

work=$(mktemp -d build/systemd/boot-XXXXXX)
trap 'umount "$work/root"; rm -rf "$work"' EXIT
mkdir "$work/root" "$work/upper" "$work/work"
mount -t overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
install -D bin/iotsense-box "$work/root/usr/bin/iotsense"
install -m 644 -t "$work/root/etc/systemd/system" dist/iotsense.service dist/iotsense@.service dist/iotsense.socket
install -D -m 644 dist/config.yaml "$work/root/etc/iotsense/config.yaml"
sed -i 's/^interfaces:.*/interfaces: [lab0]/' "$work/root/etc/iotsense/config.yaml"
chroot "$work/root" groupadd --system --force iotsense
install scripts/systemd-guest.sh "$work/root/usr/bin/try-iotsense"
cat >"$work/root/etc/systemd/system/try.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=append:/var/log/try
StandardError=append:/var/log/try
ExecStart=try-iotsense
ExecStopPost=systemctl poweroff --force --force
[Install]
WantedBy=multi-user.target
END
chroot "$work/root" systemctl --quiet enable try.service

# The container may do what the sensor needs, and what narrows that; its pins are in a
# directory of the machine's BPF file system.
mount | grep -q ' /sys/fs/bpf type bpf' || mount -t bpf bpf /sys/fs/bpf
timeout 180 systemd-nspawn --quiet --directory "$work/root" --boot --register=no --keep-unit --private-network \
  --capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON --bind=/sys/fs/bpf \
  --system-call-filter='bpf landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
  </dev/null >build/systemd.log 2>&1 || true # it ends by force
cat "$work/root/var/log/try"
grep -q '^all of it' "$work/root/var/log/try" || { echo "systemd-test: failed" >&2; exit 1; }
