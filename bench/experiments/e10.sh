#!/bin/sh
# e10.sh - is the simulator honest? The same fleet and the same requests live, on real sockets (emulated
# engines, three gateways, every rule by itself), and in the simulator. What the gateways recorded is played
# again; what the clients saw is compared with what simulated clients see. Ends with 0 also on a machine that
# was too busy: then the figures are void, and e10 says so.
#
#   bench/experiments/e10.sh [--seeds N] [--rules "NAME ..."] [--load-s S] [--keep]
#
# --keep: judge what the last run left in build/experiments/e10. All that is started runs on loopback and ends
# with it. Parameters are the same for every seed; they are all here:
set -eu
cd "$(dirname "$0")/../.."

NODES=60 REGIONS=10
SHARE=0.55 # of the fleet's capacity is asked for; nobody else uses it
WEIGHTS="llama-3.1-8b:0.6 qwen3-32b:1.0 llama-3.1-70b:1.0" # few short requests less: they cost the machine most
US=0.4 EU=0.35 AP=0.25 # by the clients' region
DRAIN_S=4 SETTLE_S=3
PROMPT_MEDIAN=1000 PROMPT_SIGMA=0.7 PROMPT_MEAN=1250 OUTPUT=16 # tokens
CONSTANTS=1.3 # the gateways begin with speeds that are 30 % wrong
REGIONS_OF_GATEWAYS="us-east eu-west ap-northeast"

seeds=2 load_s=18 keep=no rules="time least_request nearest round_robin random"
while [ $# -gt 0 ]; do
    case $1 in
    --seeds) seeds=$2 && shift ;;
    --rules) rules=$2 && shift ;;
    --load-s) load_s=$2 && shift ;;
    --keep) keep=yes ;;
    *) sed -n 's/^#   //p' "$0" >&2 && exit 2 ;;
    esac
    shift
done

out=build/experiments/e10
isochrone=build/src/cli/isochrone
ulimit -n "$(ulimit -Hn)"

# shellcheck source=demo/processes.sh
. demo/processes.sh

# The fleet of this seed: emulate's options.
fleet() {
    echo "--seed $seed --nodes $NODES --regions $REGIONS --background 0 --only-vllm
        --listen-port 9240 --constants-scale $CONSTANTS
        --gateway us-east=127.0.0.11,127.0.0.1:4841,127.0.0.1:4842
        --gateway eu-west=127.0.0.12,127.0.0.1:4851,127.0.0.1:4852
        --gateway ap-northeast=127.0.0.13,127.0.0.1:4861,127.0.0.1:4862"
}

# The requests of this seed: loadgen's options.
plan() {
    echo "--seed $seed --seconds $load_s --drain $DRAIN_S
        --prompt-tokens $PROMPT_MEDIAN --prompt-sigma $PROMPT_SIGMA --max-tokens $OUTPUT
        --target us-east:$US=127.0.0.1:4841,127.0.0.1:4842
        --target eu-west:$EU=127.0.0.1:4851,127.0.0.1:4852
        --target ap-northeast:$AP=127.0.0.1:4861,127.0.0.1:4862
        $(cat "$out/$seed/models")"
}

# live RULE: a fresh fleet, gateways that know nothing yet, and the requests; into $out/$seed/RULE.
live() {
    folder=$out/$seed/$1
    mkdir -p "$folder"
    # shellcheck disable=SC2046
    "$isochrone" emulate $(fleet) --log "$folder/emulate.jsonl" \
        >"$folder/emulate.out" 2>"$folder/emulate.err" &
    emulate=$!
    pids="$emulate"
    alive $emulate "$folder/emulate.err"
    counted="--pid $emulate"
    for region in $REGIONS_OF_GATEWAYS; do
        "$isochrone" gateway -f "$out/$seed/gateway-$region.yaml" --rule "$1" --seed "$seed" \
            --record "$folder/$region.rec" >"$folder/$region.out" 2>&1 &
        pids="$pids $!" counted="$counted --pid $!"
        alive $! "$folder/$region.out"
    done
    # shellcheck disable=SC2046,SC2086
    build/demo/loadgen $(plan) $counted --ready 20 --settle $SETTLE_S --out "$folder/results.jsonl" \
        >"$folder/load.out" 2>&1 &
    load=$!
    pids="$pids $load"
    wait $load || fail "the load did not run: $(tail -n 1 "$folder/load.out")"
    # shellcheck disable=SC2086
    end $pids
    pids=
    echo "  $1: $(cat "$folder/load.out")"
}

# replay RULE: the gateways' records once more; "identical" or not, a line each.
replay() {
    for region in $REGIONS_OF_GATEWAYS; do
        record=$out/$seed/$1/$region.rec
        if "$isochrone" replay "$record" >"$out/replay.out" 2>&1; then
            echo "$seed $1 $region identical $(cat "$out/replay.out")" >>"$out/replays"
        else
            echo "$seed $1 $region DIFFERENT $(tail -n 1 "$out/replay.out")" >>"$out/replays"
        fi
    done
}

if [ $keep = no ]; then
    rm -rf "$out"
    mkdir -p "$out"
    for seed in $(seq "$seeds"); do
        mkdir -p "$out/$seed"
        echo "E10, seed $seed, live:"
        # shellcheck disable=SC2046,SC2086
        "$isochrone" emulate $(fleet) --print-fleet |
            build/demo/fleet_load $SHARE $PROMPT_MEAN $OUTPUT "$out/$seed/models" $WEIGHTS
        # shellcheck disable=SC2046
        "$isochrone" emulate $(fleet) --write-configs "$out/$seed" --write-fleet "$out/$seed/fleet.csv"
        # shellcheck disable=SC2046
        build/demo/loadgen $(plan) --write-plan "$out/$seed/plan.csv"
        for rule in $rules; do
            live "$rule"
            replay "$rule"
        done
    done
fi
# shellcheck disable=SC2046,SC2086
exec build/demo/e10 --out "$out" --constants $CONSTANTS --settle $SETTLE_S --drain $DRAIN_S --rules "$rules" \
    $(seq "$seeds")
