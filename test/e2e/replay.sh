#!/bin/bash
# replay.sh ISOCHRONE [ISOCHRONE...] - one run on real sockets, recorded by the first build, then played
# again by every build, and by the first with FMA and AVX2 masked (glibc picks other code without
# them). Every one must give the recorded actions byte for byte, and write the same bytes.
set -u
work=$(mktemp -d)
pids=()
trap 'for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done; wait; rm -rf "$work"' EXIT
count=0 failed=0

check() { # STATUS LABEL
    count=$((count + 1))
    if [ "$1" = 0 ]; then echo "ok $count - $2"; else
        echo "not ok $count - $2"
        failed=1
    fi
}

# Three ports in a row that nobody listens on, below those the kernel gives to outgoing connections.
busy() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=$((20000 + RANDOM % 12000))
while busy $port || busy $((port + 1)) || busy $((port + 2)); do port=$((20000 + RANDOM % 12000)); done
public=127.0.0.1:$port admin=127.0.0.1:$((port + 1)) engines=$((port + 2))
"$1" emulate --nodes 24 --regions 6 --seed 5 --listen-port $engines --write-configs "$work" \
    --gateway "eu-west=127.0.0.21,$public,$admin" --constants-scale 1.3 >"$work/emulate.log" 2>&1
config=$(ls "$work"/*.yaml)
echo "threads: 2" >>"$config"
"$1" emulate --nodes 24 --regions 6 --seed 5 --listen-port $engines \
    --gateway eu-west=127.0.0.21 >>"$work/emulate.log" 2>&1 &
pids+=($!)
"$1" gateway -f "$config" --record "$work/run.rec" --seed 3 >"$work/gateway.log" 2>&1 &
gateway=$!
pids+=($gateway)

for _ in $(seq 100); do
    curl -sf "http://$public/readyz" >/dev/null 2>&1 && break
    sleep 0.1
done
curl -sf "http://$public/readyz" >/dev/null
check $? "the gateway is ready" || true
models=$(curl -s "http://$public/v1/models" | grep -o '"id":"[^"]*"' | cut -d'"' -f4)

ask() { # N: a burst of requests of all kinds, side by side
    local model bytes=$((200 + $1 * 37 % 3000))
    [ $(($1 % 20)) = 7 ] && bytes=70000 # the kernel is asked how fast it went
    model=$(echo "$models" | sed -n "$(($1 % $(echo "$models" | wc -l) + 1))p")
    curl -s -o /dev/null -m 20 "http://$public/v1/chat/completions" -d "{\"model\":\"$model\",
        \"stream\":$([ $(($1 % 3)) = 0 ] && echo false || echo true), \"max_tokens\":$((4 + $1 % 9)),
        \"messages\":[{\"role\":\"user\",\"content\":\"$(head -c $bytes /dev/zero |
        tr '\0' 'x')\"}]}"
}
clients=()
for n in $(seq 120); do
    ask "$n" &
    clients+=($!)
    [ $((n % 10)) = 0 ] && sleep 0.2
    # a node fails, and recovers; a client leaves early; nonsense comes
    [ "$n" = 40 ] && curl -s -o /dev/null -X POST "http://127.1.0.3:$engines/emulate/nodes/2/fault" -d '{"fault":"500"}'
    [ "$n" = 80 ] && curl -s -o /dev/null -X POST "http://127.1.0.3:$engines/emulate/nodes/2/fault" -d '{"fault":"none"}'
    [ "$n" = 60 ] && curl -s -o /dev/null -m 0.05 "http://$public/v1/chat/completions" -d "{\"model\":\"$(echo "$models" | head -1)\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"leave\"}]}"
    [ "$n" = 70 ] && curl -s -o /dev/null "http://$public/v1/chat/completions" -d '{"model":'
done
wait "${clients[@]}"
kill $gateway
wait $gateway
check $? "the gateway ends with 0"

"$1" replay --json --actions "$work/first" "$work/run.rec" >"$work/first.json"
check $? "the recording build replays its own run"
decisions=$(grep -o '"decisions":[0-9]*' "$work/first.json" | cut -d: -f2)
[ "${decisions:-0}" -ge 100 ]
check $? "and there is something in it ($decisions decisions)"
grep -q '"end":"closed"' "$work/first.json"
check $? "the record is whole"
for build in "$@"; do
    "$build" replay --actions "$work/again" "$work/run.rec" >>"$work/replay.log" 2>&1 &&
        cmp -s "$work/first" "$work/again"
    check $? "the same bytes from $build"
done
GLIBC_TUNABLES=glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2,-AVX,-AVX512F \
    "$1" replay --actions "$work/again" "$work/run.rec" >>"$work/replay.log" 2>&1 &&
    cmp -s "$work/first" "$work/again"
check $? "the same bytes with FMA and AVX masked"
echo "1..$count"
if [ $failed != 0 ]; then
    sed 's/^/# /' "$work/gateway.log" "$work/replay.log" | tail -20
    exit 1
fi
