#!/bin/sh
# Compiles bpf/ into gen/. The objects are checked in, so only those who change
# bpf/ need clang.
set -eu
cd "$(dirname "$0")/.."

scripts/need.sh clang llvm-strip:llvm /usr/include/bpf/bpf_helpers.h:libbpf-dev \
  /usr/include/linux/bpf.h:linux-libc-dev
scripts/go generate ./...
scripts/clang-version.sh >gen/CLANG_VERSION
