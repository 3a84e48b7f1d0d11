#!/bin/bash
# The service in a booted system: what scripts/systemd-boot.sh runs for make systemd-test.
set -u
# shellcheck disable=SC1091 # it lies beside, as scripts/guest-lib.sh
. /usr/lib/guest-lib.sh

groupadd --system --force iotsense
sed -i 's/^interfaces:.*/interfaces: [lab0]/' /etc/iotsense/config.yaml
logged() { journalctl --quiet --unit iotsense --grep "$1"; }
drop_in() { mkdir -p /etc/systemd/system/iotsense.service.d && printf '[Service]\n%s\n' "$1" >/etc/systemd/system/iotsense.service.d/try.conf && systemctl daemon-reload; }

systemctl start iotsense
try "ready without its interface" says iotsense ActiveState '^active$'
try "it says what it waits for" says iotsense StatusText 'waiting for lab0'
ip link add lab0 type veth peer name lab1
ip link set lab0 up
ip link set lab1 up
systemctl restart iotsense
try "attached" says iotsense StatusText '^on lab0 \(tcx\)'
pid=$(systemctl show --property MainPID --value iotsense)
try "confined" grep -qz 'CapEff:.0000000000001000.*NoNewPrivs:.1.*Seccomp:.2' "/proc/$pid/status"
try "Landlock and seccomp are said" logged 'sandboxed.*landlock=[1-9].*seccomp=true'
try "pinned" test -e /sys/fs/bpf/iotsense/flows
try "a member of the group asks" setpriv --reuid=1234 --regid=1234 --groups="$(getent group iotsense | cut -d: -f3)" iotsense stats
try "nobody else does" not setpriv --reuid=1234 --regid=1234 --clear-groups iotsense stats
systemctl reload iotsense
try "reloaded" logged 'nothing has changed'
entries() { journalctl --quiet --unit iotsense --output cat "$@" | grep -q .; } # which are there
try "entries of the journal have fields and a priority" entries INTERFACE=lab0 HOOK=tcx PRIORITY=6
printf 'log_level: warn\nmax_flows: 17\n' >>/etc/iotsense/config.yaml
systemctl reload iotsense
try "what takes a restart is said" entries PRIORITY=3 --grep 'max_flows: 17, and the sensor runs with'
sed -i '/^max_flows: 17/d' /etc/iotsense/config.yaml

drop_in $'WatchdogSec=1\nRestartSec=100ms'
systemctl restart iotsense
try "fed" says iotsense ActiveState '^active$'
sleep 3
try "and not started anew meanwhile" says iotsense NRestarts '^0$'
kill -STOP "$(systemctl show --property MainPID --value iotsense)"
sleep 10 # until Go has heard of all threads
try "standing still, it is started anew" says iotsense NRestarts '^1$'
try "and works" iotsense stats

drop_in 'InaccessiblePaths=/sys/fs/bpf'
systemctl restart iotsense
try "works without pins" says iotsense StatusText '^on lab0'
drop_in ''

systemctl stop iotsense
systemctl enable --quiet --now iotsense.socket
systemctl start iotsense
try "takes systemd's socket" iotsense stats
systemctl stop iotsense
try "who asks starts it" iotsense stats
systemctl disable --quiet --now iotsense.socket
systemctl stop iotsense
try "it says what it counted" logged '^stopped'
try "keeps the programs on for the next one" test -e /sys/fs/bpf/iotsense
systemctl start iotsense
try "which takes over" logged 'taken over'
systemctl kill --signal=INT iotsense
try "takes them off when it is told so" not test -e /sys/fs/bpf/iotsense

systemctl start iotsense@lab1
try "one for each interface" iotsense stats --socket /run/iotsense-lab1/iotsense.sock
try "with files of its own" test -e /var/lib/iotsense/lab1/registry.db
systemctl stop iotsense@lab1
echo FAILS 1 >/etc/iotsense/config.yaml
systemctl start iotsense
try "wrong usage stays wrong" says iotsense ActiveState '^failed$'

end
