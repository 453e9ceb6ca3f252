# The front door: meson and ninja build behind it, in build/. `make test` is the whole gate.
all: build/build.ninja
	@ninja -C build

build/build.ninja:
	@packaging/deps.sh build
	@meson setup build >/dev/null

test:
	@test/gate.sh

# Each target for FUZZ_SECONDS (60).
fuzz:
	@test/fuzz/fuzz.sh

# What Debian has and is missing here, for all of the above.
deps:
	@packaging/deps.sh build test engine

install: all
	@meson install -C build --no-rebuild

clean:
	rm -rf build

.PHONY: all test fuzz deps install clean
