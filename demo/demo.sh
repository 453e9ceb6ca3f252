#!/bin/sh
# demo.sh - the whole of Isochrone in a minute: an emulated fleet in twelve regions, a gateway in each of three
# client regions, real OpenAI requests, and the same requests again under simpler rules.
#
#   demo/demo.sh [--seed N] [--no-engine] [--no-serve] [--quiet]
#
# Everything it starts runs on loopback and ends with it, whatever happens. What the programs wrote is
# in build/demo/. Parameters are the same for every seed; they are all here:
set -eu
cd "$(dirname "$0")/.."

NODES=66 REGIONS=12
BACKGROUND=0.5 # load from elsewhere: half of a node's capacity on the whole, 0.03 to 0.95 by region
SHARE=0.2      # of the fleet's capacity is asked for by our clients, on top of that
WEIGHTS="llama-3.1-8b:1.0 qwen3-32b:0.8 llama-3.1-70b:1.2" # and unevenly by model
US=0.3 EU=0.5 AP=0.2                                       # and by the clients' region
LOAD_S=17 DRAIN_S=2 SETTLE_S=1
PROMPT_MEDIAN=700 PROMPT_SIGMA=0.7 PROMPT_MEAN=900 OUTPUT=16 # tokens
CONSTANTS=1.3 # the gateways begin with speeds that are 30 % wrong
BASELINES="nearest least_request random"

seed=1 engine=yes serve=yes explain='--explain 1'
while [ $# -gt 0 ]; do
    case $1 in
    --seed) seed=$2 && shift ;;
    --no-engine) engine=no ;;
    --no-serve) serve=no ;;
    --quiet) explain= ;;
    *) echo "usage: demo/demo.sh [--seed N] [--no-engine] [--no-serve] [--quiet]" >&2 && exit 2 ;;
    esac
    shift
done

out=build/demo-run
isochrone=build/src/cli/isochrone
engine_pid= # of the real engine
ulimit -n "$(ulimit -Hn)"

# shellcheck source=demo/processes.sh
. demo/processes.sh

end_all_but_engine() {
    others=
    for pid in $pids; do
        [ "$pid" = "$engine_pid" ] || others="$others $pid"
    done
    # shellcheck disable=SC2086
    end $others
    pids=$engine_pid
}

# ---- A rule has a fleet, three gateways and a load of its own; ports differ by the place of the rule,
# so that rules can run side by side: gateways on 4141, 4151, 4161 for the first (0), admin one above.

# fleet PLACE: emulate's options.
fleet() {
    hundred=4$(($1 + 1))
    echo "--seed $seed --nodes $NODES --regions $REGIONS --background $BACKGROUND
        --listen-port 914$1 --constants-scale $CONSTANTS
        --gateway us-east=127.0.0.11,127.0.0.1:${hundred}41,127.0.0.1:${hundred}42
        --gateway eu-west=127.0.0.12,127.0.0.1:${hundred}51,127.0.0.1:${hundred}52
        --gateway ap-northeast=127.0.0.13,127.0.0.1:${hundred}61,127.0.0.1:${hundred}62"
}

# start RULE PLACE: a fresh fleet of the same seed, and gateways that know nothing yet.
start() {
    mkdir -p "$out/$1"
    # shellcheck disable=SC2046
    "$isochrone" emulate $(fleet "$2") --write-configs "$out/$1"
    # shellcheck disable=SC2046
    "$isochrone" emulate $(fleet "$2") --log "$out/$1/emulate.jsonl" \
        >"$out/$1/emulate.out" 2>"$out/$1/emulate.err" &
    pids="$pids $!"
    alive $! "$out/$1/emulate.err"
    for region in us-east eu-west ap-northeast; do
        cat "$out/real-engine" >>"$out/$1/gateway-$region.yaml"
        "$isochrone" gateway -f "$out/$1/gateway-$region.yaml" --rule "$1" --seed "$seed" \
            >"$out/$1/$region.out" 2>&1 &
        pids="$pids $!"
        alive $! "$out/$1/$region.out"
    done
}

# load RULE PLACE [OPTIONS]: the same requests for every rule of a seed. Becomes the load generator: call it
# with & and wait, so that a signal is not kept waiting.
load() {
    rule=$1 hundred=4$(($2 + 1))
    shift 2
    counted=
    for pid in $pids; do counted="$counted --pid $pid"; done
    # shellcheck disable=SC2046,SC2086
    exec build/demo/loadgen --seed "$seed" --seconds $LOAD_S --drain $DRAIN_S --ready 20 \
        --settle $SETTLE_S --prompt-tokens $PROMPT_MEDIAN --prompt-sigma $PROMPT_SIGMA \
        --max-tokens $OUTPUT \
        --target us-east:$US=127.0.0.1:${hundred}41,127.0.0.1:${hundred}42 \
        --target eu-west:$EU=127.0.0.1:${hundred}51,127.0.0.1:${hundred}52 \
        --target ap-northeast:$AP=127.0.0.1:${hundred}61,127.0.0.1:${hundred}62 \
        $(cat "$out/models") $counted --out "$out/$rule/results.jsonl" "$@"
}

# The real engine: llama.cpp with a tiny generated model, where a suitable Node is to be had.
start_engine() {
    if ! test/engine/prepare.sh >"$out/prepare.out" 2>"$out/prepare.err"; then
        echo "no real llama.cpp beside the emulated fleet: $(tail -n 1 "$out/prepare.out")"
        return
    fi
    node=test/engine/node_modules/.bin/engine-node
    "$node" test/engine/make_gguf.mjs --out "$out/tiny.gguf" >"$out/engine.out" 2>&1 ||
        fail "the tiny model was not made: $(tail -n 1 "$out/engine.out")"
    "$node" test/engine/tiny_server.mjs --model "$out/tiny.gguf" --alias tiny >"$out/engine.out" 2>&1 &
    engine_pid=$!
    pids="$pids $engine_pid"
    url=
    for _ in $(seq 100); do
        url=$(sed -n 's/^listening on //p' "$out/engine.out")
        [ -z "$url" ] || break
        sleep 0.1
    done
    [ -n "$url" ] || fail "the real engine did not start: $(tail -n 1 "$out/engine.out")"
    echo "  - {name: real-llama-cpp, url: \"$url\", region: eu-west, operator: you}" >"$out/real-engine"
    echo "--model tiny:1" >>"$out/models"
    echo "and a real llama.cpp at $url with the model tiny"
}

# ---- The demo.

rm -rf "$out"
mkdir -p "$out"
: >"$out/real-engine"
echo "fleet of seed $seed, emulated on loopback with the distances between the regions:"
# shellcheck disable=SC2046,SC2086
"$isochrone" emulate $(fleet 0) --print-fleet |
    build/demo/fleet_load $SHARE $PROMPT_MEAN $OUTPUT "$out/models" $WEIGHTS
if [ $engine = yes ]; then start_engine; fi

echo
echo "rule time: each request goes where its first token is expected first"
start time 0
# shellcheck disable=SC2086
load time 0 $explain &
pids="$pids $!"
wait $! || fail "the load under the rule time did not run; see $out/time/"
end_all_but_engine

echo "the same requests under other rules, side by side: $BASELINES"
place=0 loads=
for rule in $BASELINES; do
    place=$((place + 1))
    start "$rule" $place
done
place=0
for rule in $BASELINES; do
    place=$((place + 1))
    load "$rule" $place >"$out/$rule/load.out" 2>&1 &
    loads="$loads $!" pids="$pids $!"
done
for pid in $loads; do
    wait "$pid" || fail "a load did not run; see $out/*/load.out"
done
end_all_but_engine
# shellcheck disable=SC2086
build/demo/judge "$out" "$seed" time $BASELINES

# ---- And on.

if [ $serve = yes ] && [ -t 1 ]; then
    trap 'exit 0' INT # as announced: no failure
    start time 0
    echo
    echo "The gateways go on, from scratch: us-east 4141, eu-west 4151, ap-northeast 4161 (admin ports one above)."
    echo "  curl http://127.0.0.1:4151/v1/chat/completions -H 'content-type: application/json' \\"
    echo "    -d '{\"model\": \"llama-3.1-8b\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'"
    echo "  $isochrone nodes; $isochrone explain ID (the x-request-id of an answer)"
    echo "Ctrl-C ends everything."
    wait
fi
