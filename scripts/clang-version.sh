#!/bin/sh
# Prints the major version of clang.
set -eu
clang --version | sed -nE 's/.*clang version ([0-9]+).*/\1/p'
