#!/bin/sh
# Compiles bpf/ into gen/. The objects are checked in, so only those who change
# bpf/ need clang.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh gzip clang llvm-strip:llvm /usr/include/bpf/bpf_helpers.h:libbpf-dev \
  /usr/include/linux/bpf.h:linux-libc-dev
scripts/go generate ./...
# bpf2go embeds objects as they are; packed they take a fifth of a program's room.
for source in gen/*_bpfel.go; do
  gzip -9 -n -f "${source%.go}.o"
  sed -i -e 's/^\(\/\/go:embed .*\.o\)$/\1.gz/' -e 's/^var \(_[A-Za-z]*\)Bytes \[\]byte$/var \1Packed string/' \
    -e 's/NewReader(\(_[A-Za-z]*\)Bytes)/NewReader(unpacked(\1Packed))/' "$source"
done
scripts/clang-version.sh >gen/CLANG_VERSION
