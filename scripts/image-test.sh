#!/bin/bash
# Runs the image of scripts/image.sh (buildah's) under crun as docs/CONTAINER.md says: read-only,
# with three capabilities, on a network of its own. As root.
set -euo pipefail
cd "$(dirname "$0")/.."

# crun knows no mixture of both kinds of control groups: it gets to see the second alone.
if [ -d /sys/fs/cgroup/unified ] && [ -z "${IMAGE_TEST_ALONE:-}" ]; then
  # shellcheck disable=SC2016 # the inner shell's
  IMAGE_TEST_ALONE=yes exec unshare --mount sh -c 'umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$0"' "$0"
fi
scripts/need.sh crun buildah ip:iproute2
buildah=(buildah --root "$PWD/build/images" --runroot "$PWD/build/images-run")
name=iotsense-test-$$
work=$(mktemp -d)
container=$("${buildah[@]}" from --pull-never iotsense)
end() {
  crun delete --force "$name" >/dev/null 2>&1 || true
  "${buildah[@]}" rm "$container" >/dev/null
  ip netns del "$name" || true
  rm -rf "$work"
}
trap end EXIT
root=$("${buildah[@]}" mount "$container")
[ "$(find "$root" -type f | sed "s#^$root##")" = /iotsense ] || { echo "image-test: more than the program is in the image" >&2; exit 1; }
ip netns add "$name"
ip -n "$name" link add eth0 type veth peer name lab1
ip -n "$name" link set eth0 up
ip -n "$name" link set lab1 up

cat >"$work/config.json" <<END
{"ociVersion": "1.0.2", "root": {"path": "$root", "readonly": true},
 "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "noNewPrivileges": true, "args": ["/iotsense", "run", "-i", "eth0"],
  "capabilities": {$(for set in bounding effective permitted; do printf '"%s": ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"],' $set; done) "ambient": []}},
 "mounts": [
  {"destination": "/proc", "type": "proc", "source": "proc"},
  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
  {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro"]},
  {"destination": "/sys/fs/bpf", "type": "none", "source": "/sys/fs/bpf", "options": ["bind"]},
  {"destination": "/run", "type": "tmpfs", "source": "tmpfs"}],
 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network", "path": "/run/netns/$name"}]}}
END
crun --cgroup-manager=disabled run --detach --bundle "$work" "$name" >"$work/log" 2>&1 </dev/null || { cat "$work/log"; exit 1; }
for _ in $(seq 50); do
  crun exec "$name" /iotsense stats --json >"$work/stats" 2>/dev/null && break
  sleep 0.2
done
grep -q '"attached":true' "$work/stats" || { cat "$work/log" "$work/stats"; echo "image-test: the sensor does not run" >&2; exit 1; }
crun kill "$name" TERM
for _ in $(seq 50); do
  grep -q 'msg=stopped' "$work/log" && break
  sleep 0.2
done
grep -E 'msg=(attached|sandboxed)' "$work/log"
grep -q 'msg=stopped' "$work/log" || { cat "$work/log"; echo "image-test: it does not end" >&2; exit 1; }
echo "the image runs read-only with three capabilities"
