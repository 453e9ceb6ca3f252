#!/bin/bash
# gate.sh - the whole gate, as `make test` and the continuous integration run it: packages, format, two
# compilers with -Werror, unit tests, sanitizers, the house tests and the tests against a real engine.
# A line per step; details only of what failed, the rest is in build/gate/. It goes on after a failure,
# so that one run shows everything, and ends with "N passed, N failed, N skipped", where a check is one
# line of TAP in any build, or one step.
set -u
cd "$(dirname "$0")/.." || exit 1
gate=build/gate
results=$gate/results.tap
replay=test/e2e/replay_only
mkdir -p $gate
: >$results
began=$SECONDS
CLANG=$(command -v clang-14 || command -v clang || echo clang-14)

# All that this shell waited for, in seconds of one core.
cpu_s() { awk '{ printf "%d", ($16 + $17) / 100 }' /proc/$$/stat; }
say() { printf '%4ds %4d cpu  %s\n' $((SECONDS - began)) "$(cpu_s)" "$*"; }

# step NAME COMMAND...: run it, its output in build/gate/NAME.log; one result.
step() {
    local name=$1 log=$gate/$1.log
    shift
    say "$name"
    if "$@" >"$log" 2>&1; then
        echo "ok - $name" >>$results
        return 0
    fi
    echo "not ok - $name" >>$results
    echo "      FAILED: $* (the end of $log)"
    grep -vE '^\[[0-9]+/[0-9]+\]|^$|ld.gold: warning: Cannot export' "$log" | tail -n 40 | sed 's/^/      /'
    return 1
}

format() {
    find src test bench demo \( -name node_modules -o -name samples \) -prune -o \
        -name '*.[ch]' -print0 -o -name '*.cc' -print0 |
        xargs -0 clang-format-14 --dry-run -Werror
}

# configure NAME OPTION...: once, and again when the options are others.
configure() {
    local dir=$gate/$1
    shift
    [ -f "$dir/build.ninja" ] && [ "$(cat "$dir.options")" = "${CC:-} $*" ] && return
    rm -rf "$dir"
    meson setup "$dir" --werror "$@" && echo "${CC:-} $*" >"$dir.options"
}
# build NAME TARGETS OPTION...: only what changed of these targets of ninja; of "suite:SUITE", what its
# tests run.
build() {
    local name=$1 targets=$2
    shift 2
    configure "$name" "$@" || return
    if [ "${targets#suite:}" != "$targets" ]; then
        ninja -C "$gate/$name" build.ninja # or what is known of the tests is old
        targets=$(test/needed.py "$gate/$name" "${targets#suite:}")
    fi
    # shellcheck disable=SC2086 # words
    ninja -C "$gate/$name" $targets
}
# clang_build NAME TARGETS OPTION...: with a linker that is three times as fast on a sanitizer's two hundred
# programs, where there is one.
clang_build() {
    local linker=bfd
    command -v ld.gold >/dev/null && linker=gold
    command -v ld.lld >/dev/null && linker=lld
    CC=$CLANG CXX=${CLANG/clang/clang++} CC_LD=$linker CXX_LD=$linker build "$@"
}
sanitized() { # NAME TARGETS SANITIZERS OPTION...
    local name=$1 targets=$2 sanitizers=$3
    shift 3
    clang_build "$name" "$targets" -Db_sanitize="$sanitizers" -Db_lundef=false \
        -Doptimization=1 -Ddebug=true -Dc_args=-fno-sanitize-recover=undefined "$@"
}

# tests NAME OPTION...: every test meson knows there (or those chosen); its checks become results.
tests() {
    local name=$1 dir=$gate/$1
    shift
    say "tests of the $name build${*:+ ($*)}"
    rm -f "$dir/meson-logs/testlog.json"
    meson test -C "$dir" --no-rebuild --timeout-multiplier 4 "$@" >"$gate/tests-$name.log" 2>&1
    if ! python3 test/tap_results.py "$name" "$dir/meson-logs/testlog.json" >>$results; then
        echo "      FAILED (all of it in $gate/tests-$name.log)"
        awk -v name="$name:" '/^(not )?ok/ { show = /^not ok/ && index($0, name) } show' $results |
            head -n 60 | sed 's/^/      /'
    fi
}

packaging/deps.sh build test || exit 1
packaging/deps.sh engine || true # the test of the real engine says what is missing
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1
command -v llvm-symbolizer-14 >/dev/null && ASAN_SYMBOLIZER_PATH=$(command -v llvm-symbolizer-14) &&
    export ASAN_SYMBOLIZER_PATH

say "llama.cpp from npm"
test/engine/prepare.sh 2>$gate/prepare.log | sed 's/^/      not available: /'
step format format
# The release is built by gcc with -O3; the other builds differ in both, so that no result hangs on it.
# Warnings are judged over everything by gcc and clang; the other builds make what their tests run.
step gcc-Werror build gcc all && tests gcc --no-suite fault
step clang-Werror clang_build clang-O2 all -Doptimization=2 && tests clang-O2 --no-suite house --no-suite fault
step asan-ubsan sanitized asan "meson-test-prereq $replay" address,undefined -Dfuzz=true && tests asan --no-suite house
step fuzz-corpora env FUZZ_SECONDS=0 FUZZ_BUILD=$gate/asan test/fuzz/fuzz.sh
step gcc-O2 build gcc-O2 $replay -Doptimization=2
step replay test/e2e/replay.sh $gate/gcc/src/cli/isochrone $gate/{gcc-O2,clang-O2,asan}/$replay
step simulated $gate/gcc/test/sim/sim_random 60
step simulated-asan $gate/asan/test/sim/sim_random 20
step tsan sanitized tsan suite:threads thread && tests tsan --suite threads

passed=$(grep -c '^ok' $results)
skipped=$(grep -c '^ok.*# SKIP' $results)
failed=$(grep -c '^not ok' $results)
awk '/^figure/ && !seen[$2]++' $results # of the release, which is tested first
grep '# SKIP' $results | sed -E 's/^ok (- )?(.*)# SKIP/      skipped: \2:/'
say "done"
echo "figure gate_cpu_s $(cpu_s) s"
echo "$((passed - skipped)) passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
