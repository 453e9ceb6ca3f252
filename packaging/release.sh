#!/bin/sh
# release.sh - the program as one installs it, in build/release: compiled, set to work for half a minute on
# loopback (`bench_proxy ISOCHRONE train`, and a simulated fleet for the decision among many nodes), and compiled
# again with the profile of that. A proxy's time goes to branches and cache lines of code more than to
# arithmetic, so this is worth some 5 % of a request. What training did not reach is compiled as always.
set -eu
cd "$(dirname "$0")/.."
release=build/release
log=$release.log
say() { [ -t 1 ] && printf '\r\033[K%s' "$*" || echo "$*"; }

if [ -f $release/trained ] && [ -z "$(find src packaging meson.build -newer $release/trained -type f | head -n 1)" ]; then
    exit 0
fi
fail() { echo "release: $* (see $log)" >&2; tail -n 3 "$log" >&2; exit 1; }
rm -rf $release
say "release: compiling, to be trained"
meson setup $release -Db_pgo=generate -Dc_args=-fprofile-update=atomic >"$log" 2>&1 || fail "meson failed"
ninja -C $release src/cli/isochrone >>"$log" 2>&1 || fail "it does not compile"
say "release: training"
build/bench/bench_proxy $release/src/cli/isochrone train >>"$log" 2>&1 || fail "training failed"
$release/src/cli/isochrone sim --nodes 1000 --regions 12 --gateways 2 --duration 12s --warmup 2s --json >>"$log" 2>&1 ||
    fail "training in the simulator failed"
say "release: compiling with the profile"
meson configure $release -Db_pgo=use -Dc_args='-fprofile-partial-training -Wno-missing-profile' >>"$log" 2>&1 ||
    fail "meson failed"
ninja -C $release src/cli/isochrone >>"$log" 2>&1 || fail "it does not compile with the profile"
touch $release/trained
say "release: $release/src/cli/isochrone"
[ ! -t 1 ] || echo
