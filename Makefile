# The front door: everything is built by meson and ninja behind it.
all: build/build.ninja
	ninja -C build
build/build.ninja:
	meson setup build
.PHONY: all
