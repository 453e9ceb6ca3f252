#!/bin/sh
# processes.sh - what a script starts, it ends: each process by its id, also after an error or Ctrl-C. To be
# read by sh scripts that run in the root of the repository and keep the ids in $pids.
pids=

fail() {
    echo "$(basename "$0" .sh): $*" >&2
    exit 1
}

# end PID...: ask, ask again (a gateway then drops what is open), and wait.
end() {
    for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || true; done
    sleep 0.1
    for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "$@"; do wait "$pid" 2>/dev/null || true; done
}
end_all() {
    trap '' HUP INT TERM
    # shellcheck disable=SC2086 # a list of ids
    end $pids
}
trap end_all EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# alive PID LOG: fail unless it runs and has begun to tell of itself.
alive() {
    for _ in $(seq 100); do
        kill -0 "$1" 2>/dev/null || fail "$(tail -n 1 "$2")"
        [ ! -s "$2" ] || break
        sleep 0.05
    done
    sleep 0.05
    kill -0 "$1" 2>/dev/null || fail "$(tail -n 1 "$2")"
}
