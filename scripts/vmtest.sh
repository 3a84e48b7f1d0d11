#!/bin/bash
# Boots Debian's kernels in QEMU (no KVM needed) and runs tests there.
#
#   scripts/vmtest.sh [SUITE] [CASE...]     default: suite full, every case
#
# Suites: full; short, some seconds a case, for .ci/run; figures, the verifier's
# counts for scripts/kernels.sh; soak, that of scripts/soak.sh with steps of the clock, for
# SOAK=10m. /init is internal/vminit; the test binaries are
# cross-compiled and static. The console of each machine is kept in
# build/vm/CASE-SUITE.log. VMTEST_TESTS='pkg/loader -test.v -test.run=Clsact' runs
# that in place of a suite.
set -euo pipefail
cd "$(dirname "$0")/.."

#      case             arch  release  package               hooks       kernel options
cases='amd64-5.10       amd64 bullseye linux-image-amd64     none
       amd64-6.1        amd64 bookworm linux-image-amd64     tc,xdp
       amd64-6.12       amd64 trixie   linux-image-amd64     tcx,tc,xdp
       amd64-6.12-nobtf amd64 trixie   linux-image-amd64     tcx,tc,xdp  nobtf
       arm64-6.1        arm64 bookworm linux-image-arm64     tc,xdp
       arm64-6.12       arm64 trixie   linux-image-arm64     tcx,tc,xdp
       arm64-6.12-16k   arm64 trixie   linux-image-arm64-16k tcx,tc,xdp'

suite=full
case ${1:-} in full | short | figures | soak) suite=$1 && shift ;; esac
[ -z "${VMTEST_TESTS:-}" ] || suite=tests
limit=${VMTEST_LIMIT:-3600} # seconds that one machine may take

# tests HOOKS: the suite's tests, a package and its test flags in each line. A
# kernel without any hook must be refused by name.
tests() {
  local hook traffic package
  if [ "$1" = none ]; then
    echo "pkg/loader -test.v -test.run=^TestUnsupportedKernelIsNamed$"
    return
  fi
  case $suite in
    tests) echo "$VMTEST_TESTS" ;;
    soak) echo "cmd/iotsense -test.v -test.timeout=0 -test.run=^TestSoak$" ;;
    figures) echo "pkg/loader -test.v -test.run=^TestVerifiedInstructions$ -record" ;;
    short)
      echo "pkg/loader -test.v -test.short -test.run=^(TestHooksCountWhatTheInterfaceCounts|TestLatePacket|TestRollover|TestVerifiedInstructions)$/^(auto|xdp|bi)$"
      ;;
    full)
      echo "pkg/loader -test.v -test.short -test.timeout=30m"
      echo "internal/sandbox -test.v"
      echo "cmd/internal/confine -test.v"
      for package in $(dirname pkg/loader/*/*_test.go pkg/model/{,cnn/,stream/}*_test.go pkg/model/internal/*/*_test.go | sort -u); do
        echo "$package -test.v -test.short -test.timeout=15m"
      done
      for hook in ${1//,/ }; do
        for traffic in crafted lab; do
          echo "pkg/sensor -test.v -test.run=^TestLiveEqualsOffline$/^$traffic$/^$hook-bi$"
        done
      done
      ;;
  esac
}

# packages: those of the tests on standard input.
packages() { cut -d ' ' -f 1 | sort -u; }

# initrd CASE ARCH KERNEL HOOKS: prints the file that the kernel unpacks as its root.
initrd() {
  local root=build/vm/root-$1 package
  rm -rf "$root"
  mkdir -p "$root/repo/docs" "$root/bin" "$root/etc"
  : >"$root/etc/shadow" # what a sensor must not read
  cp -r "$3/modules" "$root/modules"
  cp go.mod "$root/repo/"
  cp docs/KERNELS.md "$root/repo/docs/"
  tests "$4" >"$root/repo/tests"
  CGO_ENABLED=0 GOARCH=$2 scripts/go build -o "$root/init" ./internal/vminit || return
  ln -s /init "$root/bin/tcpdump"
  for package in $(packages <"$root/repo/tests"); do
    mkdir -p "$root/repo/$package"
    CGO_ENABLED=0 GOARCH=$2 scripts/go test -c -o "$root/repo/$package/$(basename "$package").test" "./$package" || return
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
    -kernel "$2/vmlinuz" -initrd "$3" -append "console=$console quiet panic=-1 IOTSENSE_SOAK=${SOAK:-10m} $4" </dev/null
}

# run_case CASE ARCH RELEASE PACKAGE HOOKS OPTIONS: 0 when the machine printed its PASS line.
run_case() {
  local log=build/vm/$1-$suite.log kernel image start booted
  kernel=$(scripts/vm-kernel.sh "$2" "$3" "$4") || return
  start=$SECONDS
  image=$(initrd "$1" "$2" "$kernel" "$5") || return
  booted=$SECONDS
  boot "$2" "$kernel" "$image" "${6:-}" | tr -d '\r' >"$log" || true
  rm -f "$image"
  grep '^vmtest: Linux' "$log" || true
  if grep -q '^vmtest: PASS' "$log"; then
    echo "$1 $suite: ok, build $((booted - start)) s, machine $((SECONDS - booted)) s"
  else
    grep -E '^ *--- FAIL|^vmtest: FAIL|[Pp]anic' "$log" || tail -n 20 "$log"
    echo "$1 $suite: FAILED, build $((booted - start)) s, machine $((SECONDS - booted)) s, see $log"
    return 1
  fi
}

scripts/need.sh qemu-system-x86_64:qemu-system-x86 qemu-system-aarch64:qemu-system-arm cpio
wanted=" $* "
failed=
while read -r name arch release package hooks options; do
  if [ $# -eq 0 ] || [[ $wanted == *" $name "* ]]; then
    run_case "$name" "$arch" "$release" "$package" "$hooks" "$options" || failed="$failed $name"
  fi
done <<<"$cases"
[ -z "$failed" ] || { echo "vmtest: failed:$failed" >&2; exit 1; }
