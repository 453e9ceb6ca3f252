#!/bin/bash
# fuzz.sh [--long] [TARGET...] - every libFuzzer target (or those named) for FUZZ_SECONDS, 60 if not set,
# FUZZ_JOBS at once (as many as there are cores), from the kept corpus and what earlier runs found in
# build/fuzz/found. With FUZZ_SECONDS=0 only the kept corpus is run: what was once a bug stays mended; for
# that any build with -Dfuzz=true does, which FUZZ_BUILD names: nothing is compiled twice.
# A line per target; after a failure, the input that caused it and the command that repeats it; then
# how many targets, runs and crashes there were (leaks and hangs are crashes). --long: what is found
# goes to build/fuzz-corpus instead, which outlives the build, and is minimised before and after.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${FUZZ_SECONDS:-60}
long=
[ "${1:-}" = --long ] && { long=yes; shift; }
mkdir -p build
CLANG=$(command -v clang-14 || command -v clang || echo clang-14)
out=build/fuzz
build=${FUZZ_BUILD:-$out}
INPUT_BYTES_MAX=65536
INPUT_SECONDS_MAX=10
RSS_MIB_MAX=2048

if [ ! -f "$build/build.ninja" ]; then
    CC=$CLANG CXX=${CLANG/clang/clang++} meson setup "$build" -Dfuzz=true -Db_lundef=false \
        -Db_sanitize=address,undefined -Doptimization=1 -Ddebug=true \
        -Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined' \
        -Dcpp_args=-fsanitize=fuzzer-no-link >$out.log 2>&1 || { tail -n 5 $out.log; exit 1; }
fi
mkdir -p $out
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cd test/fuzz && printf '%s\n' *_fuzz.c | sed 's/_fuzz\.c$//')
programs=("${targets[@]/#/test/fuzz/}")
ninja -C "$build" "${programs[@]/%/_fuzz}" test/smuggling/smuggling_corpus >$out/ninja.log 2>&1 ||
    { tail -n 30 $out/ninja.log; exit 1; }
# What was made of other tests' data, beside the kept corpus.
mkdir -p $out/made/http1
"$build/test/smuggling/smuggling_corpus" test/smuggling/{requests,responses}.txt $out/made/http1 || exit 1

# minimise NAME FOUND KEPT: of what was found, what reaches something that the kept inputs do not.
minimise() {
    rm -rf "$2.small"
    mkdir "$2.small"
    "$build/test/fuzz/$1_fuzz" -merge=1 -max_len=$INPUT_BYTES_MAX "$2.small" "$3" "$2" \
        >$out/"$1"-merge.log 2>&1 || return # the old ones stay
    (cd "$3" && sha1sum -- * | cut -c-40) | while read -r sum; do rm -f "$2.small/$sum"; done
    rm -rf "$2"
    mv "$2.small" "$2"
}

# one NAME: its line, and the end of its log when it failed.
one() {
    local name=$1 log=$out/$1.log limit
    local found=$out/found/$name kept=test/fuzz/corpus/$name made=$out/made/$name
    [ -z "$long" ] || found=build/fuzz-corpus/$name
    mkdir -p "$found" "$kept" "$made"
    limit=(-max_total_time="$seconds" "$found")
    [ "$seconds" = 0 ] && limit=(-runs=0)
    [ -z "$long" ] || minimise "$name" "$found" "$kept"
    if "$build/test/fuzz/${name}_fuzz" "${limit[@]}" "$kept" "$made" -max_len=$INPUT_BYTES_MAX \
        -timeout=$INPUT_SECONDS_MAX -rss_limit_mb=$RSS_MIB_MAX -artifact_prefix="$out/$name-" \
        -print_final_stats=1 >"$log" 2>&1; then
        [ -z "$long" ] || minimise "$name" "$found" "$kept"
        printf 'ok - fuzz %-12s %9s runs, %5s edges, %4s inputs kept\n' "$name" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
            "$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -c6-)" "$(find "$kept" "$made" -type f | wc -l)"
    else
        echo "not ok - fuzz $name"
        grep -E 'ERROR|SUMMARY|runtime error|#[0-9]+ .* in ' "$log" | head -n 12 | sed 's/^/#   /'
        sed -n "s|.*Test unit written to |#   repeat: $build/test/fuzz/${name}_fuzz |p" "$log"
        return 1
    fi
}
export -f one minimise
export build long seconds out INPUT_BYTES_MAX INPUT_SECONDS_MAX RSS_MIB_MAX

printf '%s\n' "${targets[@]}" | xargs -P "${FUZZ_JOBS:-$(nproc)}" -I{} bash -c 'one {}' | tee $out/results.tap
failed=$(grep -c '^not ok' $out/results.tap)
runs=$(awk '$1 == "ok" { n += $5 } END { print n + 0 }' $out/results.tap)
echo "${#targets[@]} targets, $failed failed, $seconds s each"
echo "figure fuzz_targets ${#targets[@]} targets"
echo "figure fuzz_runs $runs runs"
echo "figure fuzz_crashes $failed crashes"
[ "$failed" = 0 ]
