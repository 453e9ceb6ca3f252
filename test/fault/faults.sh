#!/bin/bash
# faults.sh - every n-th allocation and system call of a gateway fails once, under ASan: `make
# test-faults`, some minutes. The gate takes some of them.
set -u
cd "$(dirname "$0")/../.." || exit 1
CLANG=$(command -v clang-14 || command -v clang || echo clang-14)
dir=build/gate/asan
mkdir -p build/gate
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1

[ -f $dir/build.ninja ] ||
    CC=$CLANG CXX=${CLANG/clang/clang++} meson setup $dir --werror -Db_sanitize=address,undefined \
        -Db_lundef=false -Doptimization=1 -Ddebug=true -Dc_args=-fno-sanitize-recover=undefined \
        >build/gate/asan.log 2>&1 || { tail -n 5 build/gate/asan.log; exit 1; }
ninja -C $dir test/fault/fault_test >build/gate/asan.log 2>&1 ||
    { tail -n 30 build/gate/asan.log; exit 1; }
exec $dir/test/fault/fault_test --all
