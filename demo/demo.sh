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

NODES=66
REGIONS=12
BACKGROUND=0.6   # of each node's capacity is used by others, unevenly by region: 0.05 to 0.95
SHARE=0.17       # of the fleet's capacity is asked for by our clients, on top of that
WEIGHTS="llama-3.1-8b:1.0 qwen3-32b:0.8 llama-3.1-70b:1.2"
US=0.3 EU=0.5 AP=0.2 # of the clients
SECONDS_LOAD=18 SECONDS_DRAIN=2 SECONDS_SETTLE=1
PROMPT_MEDIAN=700 PROMPT_SIGMA=0.7 PROMPT_MEAN=900 OUTPUT=16
CONSTANTS=1.3    # the gateways begin with speeds that are 30 % wrong
ENGINE_PORT=9000 # of the emulated fleet, on 127.1.0.x

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
emulate_pid= gateway_pids= engine_pid=
ulimit -n "$(ulimit -Hn)"

# ---- Processes: each is ended by its id, also after an error or Ctrl-C.

# end PID...: ask, ask again (a gateway then drops what is open), and wait.
end() {
    for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || true; done
    sleep 0.1
    for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "$@"; do wait "$pid" 2>/dev/null || true; done
}
end_all() {
    trap '' INT TERM
    # shellcheck disable=SC2086 # lists of ids
    end $gateway_pids $emulate_pid $engine_pid
    gateway_pids='' emulate_pid='' engine_pid=''
}
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "demo: $*" >&2
    exit 1
}

fleet="--seed $seed --nodes $NODES --regions $REGIONS --background $BACKGROUND \
    --listen-port $ENGINE_PORT --constants-scale $CONSTANTS \
    --gateway us-east=127.0.0.11,127.0.0.1:4141,127.0.0.1:4142 \
    --gateway eu-west=127.0.0.12,127.0.0.1:4151,127.0.0.1:4152 \
    --gateway ap-northeast=127.0.0.13,127.0.0.1:4161,127.0.0.1:4162"

# start RULE: a fresh fleet of the same seed, and gateways that know nothing yet.
start() {
    mkdir -p "$out/$1"
    # shellcheck disable=SC2086
    "$isochrone" emulate $fleet --log "$out/$1/emulate.jsonl" >"$out/$1/emulate.out" 2>"$out/$1/emulate.err" &
    emulate_pid=$!
    for region in us-east eu-west ap-northeast; do
        "$isochrone" gateway -f "$out/gateway-$region.yaml" --rule "$1" --seed "$seed" \
            >"$out/$1/$region.out" 2>&1 &
        gateway_pids="$gateway_pids $!"
    done
}
stop() {
    # shellcheck disable=SC2086
    end $gateway_pids
    gateway_pids=''
    end "$emulate_pid"
    emulate_pid=''
}

# load RULE [OPTIONS]: the same requests for every rule of a seed.
load() {
    rule=$1
    shift
    pids=
    for pid in $gateway_pids $emulate_pid $engine_pid; do pids="$pids --pid $pid"; done
    # shellcheck disable=SC2046,SC2086
    build/demo/loadgen --seed "$seed" --seconds $SECONDS_LOAD --drain $SECONDS_DRAIN \
        --ready 20 --settle $SECONDS_SETTLE \
        --prompt-tokens $PROMPT_MEDIAN --prompt-sigma $PROMPT_SIGMA --max-tokens $OUTPUT \
        --target us-east:$US=127.0.0.1:4141,127.0.0.1:4142 \
        --target eu-west:$EU=127.0.0.1:4151,127.0.0.1:4152 \
        --target ap-northeast:$AP=127.0.0.1:4161,127.0.0.1:4162 \
        $(cat "$out/models") $pids --out "$out/$rule/results.jsonl" "$@" ||
        fail "the load under $rule did not run; see $out/$rule/"
}

# The real engine: llama.cpp with a tiny generated model, where a suitable Node is to be had.
start_engine() {
    if ! test/engine/prepare.sh >"$out/prepare.out" 2>"$out/prepare.err"; then
        echo "no real llama.cpp beside the emulated fleet: $(tail -n 1 "$out/prepare.out")"
        return
    fi
    node=test/engine/node_modules/.bin/engine-node
    "$node" test/engine/make_gguf.mjs --out "$out/tiny.gguf" >"$out/engine.out" 2>&1 &&
        : >"$out/engine.out" || fail "the tiny model was not made: $(tail -n 1 "$out/engine.out")"
    "$node" test/engine/tiny_server.mjs --model "$out/tiny.gguf" --alias tiny >"$out/engine.out" 2>&1 &
    engine_pid=$!
    for _ in $(seq 100); do
        url=$(sed -n 's/^listening on //p' "$out/engine.out")
        [ -n "$url" ] && break
        sleep 0.1
    done
    [ -n "$url" ] || fail "the real engine did not start: $(tail -n 1 "$out/engine.out")"
    for config in "$out"/gateway-*.yaml; do
        echo "  - {name: real-llama-cpp, url: \"$url\", region: eu-west, operator: you}" >>"$config"
    done
    echo "--model tiny:1" >>"$out/models"
    echo "and a real llama.cpp at $url with the model tiny"
}

# ---- The demo.

rm -rf "$out"
mkdir -p "$out"
# shellcheck disable=SC2086
"$isochrone" emulate $fleet --write-configs "$out"
echo "fleet of seed $seed, emulated on loopback with the distances between the regions:"
# shellcheck disable=SC2086
"$isochrone" emulate $fleet --print-fleet | build/demo/fleet_load $SHARE $PROMPT_MEAN $OUTPUT "$out/models" $WEIGHTS
if [ $engine = yes ]; then start_engine; fi

echo
echo "rule time: each request goes where its first token is expected first"
start time
# shellcheck disable=SC2086
load time $explain
stop
for rule in nearest least_request random; do
    echo "rule $rule:"
    start $rule
    load $rule
    stop
done
build/demo/judge "$out" "$seed" time nearest least_request random

# ---- And on.

if [ $serve = yes ] && [ -t 1 ]; then
    start time
    echo
    echo "The gateways go on: us-east 4141, eu-west 4151, ap-northeast 4161 (admin ports one above)."
    echo "  curl http://127.0.0.1:4151/v1/chat/completions -H 'content-type: application/json' \\"
    echo "    -d '{\"model\": \"llama-3.1-8b\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'"
    echo "  $isochrone nodes, $isochrone explain ID (the x-request-id of an answer)"
    echo "Ctrl-C ends everything."
    wait
fi
