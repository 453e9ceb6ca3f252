#!/bin/bash
# profile.sh - where the CPU of a request goes: `make profile` (needs valgrind and strace). Instructions
# in user mode by callgrind, which no other load disturbs, by layer and by function; and system calls.
# The load is that of `bench_proxy ISOCHRONE h1`. Output stays in build/profile.
set -eu
cd "$(dirname "$0")/.."
for tool in valgrind strace; do
    command -v $tool >/dev/null || { echo "profile: needs $tool (apt-get install $tool)" >&2; exit 1; }
done
out=$PWD/build/profile
mkdir -p "$out"
[ -f "$out/build/build.ninja" ] || meson setup "$out/build" -Ddebug=true -Doptimization=3 >/dev/null
ninja -C "$out/build" src/cli/isochrone >/dev/null
ninja -C build bench/bench_proxy >/dev/null

# run NAME TOOL...: the bench with the gateway under a tool.
run() {
    local name=$1; shift
    printf '#!/bin/sh\nexec %s %s/build/src/cli/isochrone "$@"\n' "$*" "$out" >"$out/$name.sh"
    chmod +x "$out/$name.sh"
    build/bench/bench_proxy "$out/$name.sh" h1 >"$out/$name.bench" 2>&1 || { tail -3 "$out/$name.bench"; exit 1; }
}

echo "profile: system calls"
run strace "strace -D -c -f -o $out/strace.txt" # -D: the gateway is the child that is told to end
awk '$4 ~ /^[0-9]+$/ && $NF != "total" {calls[$NF] = $4}
    END {
        requests = calls["sendto"] / 2 # one to the engine, one to the client
        for (name in calls) {
            each = calls[name] / requests; sum += each
            if (each >= 0.005) printf "figure syscalls_per_request_%s %.2f calls\n", name, each
        }
        printf "figure syscalls_per_request %.2f calls\n", sum
    }' "$out/strace.txt" | sort

echo "profile: instructions in user mode"
run callgrind "valgrind -q --tool=callgrind --callgrind-out-file=$out/callgrind.out"
callgrind_annotate --inclusive=yes --tree=caller --threshold=100 --auto=no "$out/callgrind.out" >"$out/tree.txt" 2>/dev/null
callgrind_annotate --threshold=100 --auto=no "$out/callgrind.out" >"$out/self.txt" 2>/dev/null
requests=$(grep -o 'request_begin ([0-9,]*x)' "$out/tree.txt" | head -n 1 | tr -dc 0-9)
awk -v requests="$requests" '
    /PROGRAM TOTALS/ { gsub(",", "", $1); total = $1 }
    /^ *[0-9,]+ \(/ && !/PROGRAM/ {
        n = $1; gsub(",", "", n); where = $0
        layer = "other"
        if (match(where, /src\/[a-z]+\//)) layer = substr(where, RSTART + 4, RLENGTH - 5)
        else if (where ~ /libcrypto/) layer = "libcrypto"
        else if (where ~ /libc|string\/|malloc/) layer = "libc"
        if (where ~ /src\/role\/gateway/) layer = "role"
        if (where ~ /emmintrin|bits\/string/) layer = "wire"
        sum[layer] += n
        name = where; sub(/ \[.*/, "", name); sub(/.*:/, "", name)
        self[name] += n
    }
    END {
        printf "figure instructions_per_request %.0f instructions\n", total / requests
        for (l in sum) printf "figure instructions_per_request_%s %.0f instructions\n", l, sum[l] / requests
        for (f in self) if (self[f] / requests >= 300) printf "  %7.0f %s\n", self[f] / requests, f
    }' "$out/self.txt" | sort -k1,1r -k2,2rn
