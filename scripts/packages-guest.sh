#!/bin/bash
# A package's life, in a chroot or a booted system: what scripts/packages-test.sh runs.
set -u
# shellcheck disable=SC1091 # it lies beside, as scripts/guest-lib.sh
. /usr/lib/guest-lib.sh

running() { [ ! -d /run/systemd/system ] || says iotsense ActiveState "^$1\$"; }
export DEBIAN_FRONTEND=noninteractive
[ ! -d /run/systemd/system ] || { ip link add eth0 type veth peer name lab1 && ip link set eth0 up && ip link set lab1 up; }

try "installs" dpkg --install /usr/lib/iotsense_*.deb
try "is enabled" test -e /etc/systemd/system/multi-user.target.wants/iotsense.service
try "runs" running active
try "has its group" getent group iotsense
try "has its user" getent passwd iotsense
try "has a place for models" test "$(stat -c %U:%G:%a /var/lib/iotsense/models)" = iotsense:iotsense:750
try "its configuration is right" iotsense config check
try "its page is there" test -e /usr/share/man/man1/iotsense.1.gz
try "its completion is there" bash -n /usr/share/bash-completion/completions/iotsense
[ ! -d /run/systemd/system ] || try "answers" iotsense stats
[ ! -d /run/systemd/system ] || try "keeps what it is told" iotsense label 00:11:22:33:44:55 lamp

sed -i 's/^# max_flows:.*/max_flows: 4096/' /etc/iotsense/config.yaml # the operator's
touch /var/lib/iotsense/kept
before=$(systemctl show --property MainPID --value iotsense 2>/dev/null)
try "upgrades" dpkg --install --force-confdef --force-confold /usr/lib/new.deb
try "is the new one" sh -c "dpkg-query --show --showformat '\${Version}\n' iotsense | grep -q '\.1\$'"
try "keeps the configuration" grep -q '^max_flows: 4096' /etc/iotsense/config.yaml
if [ -d /run/systemd/system ]; then
  try "runs anew" not test "$before" = "$(systemctl show --property MainPID --value iotsense)"
  try "knows what it knew" sh -c 'iotsense devices | grep -q lamp'
  systemctl stop iotsense
  try "upgrades while stopped" dpkg --install --force-confold /usr/lib/new.deb
  try "and stays so" running inactive
  systemctl start iotsense
fi

try "takes the tools beside it" dpkg --install /usr/lib/iotsense-tools_*.deb
try "has the tools' commands" iotsense-tools train --help
try "has the timer" test -e /usr/lib/systemd/system/iotsense-learn.timer
# What was stopped before leaves its programs on (`keep`), and goes with the package.
pins=/sys/fs/bpf/iotsense-lab1
if [ -d /run/systemd/system ]; then
  mkdir /sys/fs/bpf/iotsense-of-another
  sed -i 's/^# hook:.*/hook: tc/' /etc/iotsense/config.yaml # whose filters outlast their pins
  systemctl start iotsense@lab1
  try "one for another interface" test -e "$pins/flows"
  systemctl stop iotsense@lab1
  try "which is on after its stop" test -n "$(tc filter show dev lab1 ingress)"
fi
try "is removed" dpkg --remove iotsense-tools iotsense
try "runs no more" running inactive
try "has left no program" not test -e /sys/fs/bpf/iotsense -o -e "$pins"
if [ -d /run/systemd/system ]; then
  try "no filter either" test -z "$(tc filter show dev lab1 ingress; tc filter show dev lab1 egress)"
  try "but another's pins" rmdir /sys/fs/bpf/iotsense-of-another
fi
try "has left the configuration" test -e /etc/iotsense/config.yaml
try "and what was learned" test -e /var/lib/iotsense/kept
try "installs again" dpkg --install --force-confold /usr/lib/iotsense_*.deb
try "runs again" running active
try "is purged" dpkg --purge iotsense iotsense-tools
for path in /etc/iotsense /var/lib/iotsense /usr/bin/iotsense /etc/systemd/system/multi-user.target.wants/iotsense.service; do
  try "$path is gone" not test -e "$path"
done
end
