# The front door: meson and ninja build behind it, in build/. `make test` is the whole gate.
all: build/build.ninja
	@ninja -C build

build/build.ninja:
	@packaging/deps.sh build
	@meson setup build >/dev/null

test:
	@test/gate.sh

# Each parser of outside bytes for FUZZ_SECONDS (60).
fuzz:
	@test/fuzz/fuzz.sh

# The same for FUZZ_SECONDS (3600), and what was found is made small: build/fuzz-corpus.
fuzz-long:
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-3600} test/fuzz/fuzz.sh --long

# Every allocation and system call of a request fails in turn.
test-faults:
	@test/fault/faults.sh

# An emulated fleet, gateways, real requests, and what other rules would have made of them.
# Ends by itself without a terminal; with one it goes on serving.
demo: all
	@packaging/deps.sh engine || true
	@demo/demo.sh

# The same figures for three other fleets.
demo-seeds: all
	@for seed in 2 3 4; do demo/demo.sh --seed $$seed --no-engine --no-serve --quiet || exit 1; done

# The program as one installs it: compiled with a profile of what it does. In build/release.
release: all
	@packaging/release.sh

# Gateways, nodes and a bus in namespaces of this machine, real distances between them, and what happens
# there: build/network/transcript.md (doc/network.md). Some ten minutes; skipped where namespaces are refused.
network: all
	@packaging/deps.sh test || true
	@python3 test/network/story.py build/src/cli/isochrone build/test/network/relay build/demo/loadgen build/network

# Figures, each with how busy the machine was; CPU figures of a busy machine are void.
bench-proxy: all
	@packaging/deps.sh bench
	@packaging/release.sh
	@build/bench/bench_proxy build/release/src/cli/isochrone
# Where the CPU of a request goes, in instructions and system calls (valgrind, strace).
profile: all
	@bench/profile.sh
bench-memory: all
	@build/bench/bench_memory build/src/cli/isochrone
# How long one body can hold its loop: the worst of many shapes.
bench-wire: all
	@build/bench/bench_wire
# What it costs to believe a node: signatures and reports.
bench-identity: all
	@build/bench/bench_identity
# What a message costs whom, through a real NATS server.
bench-bus: all
	@build/bench/bench_bus
bench-decision: all
	@build/bench/bench_decision
# 10,000 nodes that report each second over NATS; a gateway that comes late.
bench-scale: all
	@build/bench/bench_scale build/src/cli/isochrone
bench-engine: all
	@build/bench/bench_engine
# Requests that the simulator plays in a second of one core.
bench-sim: all
	@build/bench/bench_sim
# How near the engine model is to public measurements (ISOCHRONE_DATA); minutes of all CPUs.
bench-engine-fit: all
	@build/bench/bench_engine_fit

# How good the decision is, in the simulator: tables in build/experiments, `figure` lines. On public
# data when ISOCHRONE_DATA names them; without it on a built-in load, and the figures say so.
experiments: all
	@build/bench/experiments
	@build/bench/bench_decision
	@build/bench/bench_engine_fit || test -z "$$ISOCHRONE_DATA"
	@bench/experiments/e10.sh --seeds 4
experiments-quick: all
	@build/bench/experiments --quick
	@build/bench/bench_decision
	@build/bench/bench_engine_fit --quick || test -z "$$ISOCHRONE_DATA"
	@bench/experiments/e10.sh
# What bounds the figures that are hard to reach: tables and curves, briefly.
experiments-curves: all
	@build/bench/experiments --quick --only curves
# E10 alone: is the simulator honest? Live runs, their records again, and the same in the simulator.
experiment-e10: all
	@bench/experiments/e10.sh

# E6 on real sockets: emulated engines with memory for few of many models, agents, NATS, two gateways; with and
# without a plan. Some eight minutes.
experiments-live: all
	@bench/experiments/e06_live.py build/src/cli/isochrone build/demo/loadgen build/experiments/e6-live

# The constants of every rule by one search, ours among them; build/bench/bench_tune --help names parts.
tune: all
	@build/bench/bench_tune

# What Debian has and is missing here, for building and testing.
deps:
	@packaging/deps.sh build test engine

# `make install PREFIX=/usr`; DESTDIR=... for packages. The units start the program where it is installed.
PREFIX ?= /usr/local
install: release
	@meson configure build/release --prefix=$(PREFIX)
	@ninja -C build/release src/cli/isochrone >/dev/null
	@meson install -C build/release --no-rebuild

clean:
	rm -rf build

.PHONY: all network bench-bus release profile fuzz-long test-faults experiment-e10 experiments experiments-live experiments-curves experiments-quick test fuzz demo demo-seeds bench-proxy bench-memory bench-wire bench-identity bench-decision bench-engine bench-sim bench-engine-fit tune deps install clean bench-scale
