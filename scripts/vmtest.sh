#!/bin/bash
# Boots Debian's kernels in QEMU (no KVM needed) and runs the loader's tests there.
#
#   scripts/vmtest.sh [CASE...]     default: every case below
#
# /init is internal/vminit; the test binaries are cross-compiled and static. The
# console of each machine is kept in build/vm/CASE.log.
set -euo pipefail
cd "$(dirname "$0")/.."

#      case             arch  release  package               kernel options
cases='amd64-5.10       amd64 bullseye linux-image-amd64
       amd64-6.1        amd64 bookworm linux-image-amd64
       amd64-6.12       amd64 trixie   linux-image-amd64
       amd64-6.12-nobtf amd64 trixie   linux-image-amd64     nobtf
       arm64-6.1        arm64 bookworm linux-image-arm64
       arm64-6.12       arm64 trixie   linux-image-arm64
       arm64-6.12-16k   arm64 trixie   linux-image-arm64-16k'

packages=${VMTEST_PACKAGES:-pkg/loader}
flags=${VMTEST_FLAGS:--test.v -test.short -test.timeout=15m}
limit=${VMTEST_LIMIT:-1200} # seconds that one machine may take

# initrd CASE ARCH KERNEL: prints the file that the kernel unpacks as its root.
initrd() {
  local root=build/vm/root-$1 package
  rm -rf "$root"
  mkdir -p "$root/repo"
  cp -r "$3/modules" "$root/modules"
  cp go.mod "$root/repo/"
  echo "$flags" >"$root/repo/args"
  CGO_ENABLED=0 GOARCH=$2 scripts/go build -o "$root/init" ./internal/vminit
  for package in $packages; do
    mkdir -p "$root/repo/$package"
    CGO_ENABLED=0 GOARCH=$2 scripts/go test -c -o "$root/repo/$package/$(basename "$package").test" "./$package"
    [ ! -d "$package/testdata" ] || cp -r "$package/testdata" "$root/repo/$package/"
  done
  (cd "$root" && find . | cpio --quiet -o -H newc) >"$root.cpio"
  rm -rf "$root"
  echo "$root.cpio"
}

# boot ARCH KERNEL INITRD OPTIONS: the machine's console, until it powers off.
boot() {
  local machine
  case $1 in
    amd64) machine=(qemu-system-x86_64 -machine q35 -cpu max) console=ttyS0 ;;
    arm64) machine=(qemu-system-aarch64 -machine virt -cpu cortex-a76) console=ttyAMA0 ;;
  esac
  timeout "$limit" "${machine[@]}" -smp 2 -m 2048 -nic none -display none -monitor none -serial stdio -no-reboot \
    -kernel "$2/vmlinuz" -initrd "$3" -append "console=$console quiet panic=-1 $4" </dev/null
}

# run_case CASE ARCH RELEASE PACKAGE OPTIONS: 0 when the machine printed its PASS line.
run_case() {
  local log=build/vm/$1.log kernel image start=$SECONDS
  kernel=$(scripts/vm-kernel.sh "$2" "$3" "$4")
  image=$(initrd "$1" "$2" "$kernel")
  boot "$2" "$kernel" "$image" "${5:-}" | tr -d '\r' >"$log" || true
  rm -f "$image"
  grep '^vmtest: Linux' "$log" || true
  if grep -q '^vmtest: PASS' "$log"; then
    echo "$1: ok, $((SECONDS - start)) s"
  else
    grep -E '^ *--- FAIL|^vmtest: FAIL|[Pp]anic' "$log" || tail -n 20 "$log"
    echo "$1: FAILED after $((SECONDS - start)) s, see $log"
    return 1
  fi
}

scripts/need.sh qemu-system-x86_64:qemu-system-x86 qemu-system-aarch64:qemu-system-arm cpio
wanted=" $* "
failed=
while read -r name arch release package options; do
  if [ $# -eq 0 ] || [[ $wanted == *" $name "* ]]; then
    run_case "$name" "$arch" "$release" "$package" "$options" || failed="$failed $name"
  fi
done <<<"$cases"
[ -z "$failed" ] || { echo "make vmtest: failed:$failed" >&2; exit 1; }
