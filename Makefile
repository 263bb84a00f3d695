# SPDX-License-Identifier: MIT
# A thin front of CMake. `make help` lists what there is.

JOBS ?= $(shell nproc)
LINES ?= 97
BRANCHES ?= 88
OPS ?= 100000
WERROR ?= OFF
TIME ?= 60
PREFIX ?= /usr/local
PRESETS := release debug asan tsan coverage

MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := release-tool
.PHONY: help release-tool demo check coverage freestanding format format-check tidy cppcheck lint \
	check-threads scale bench install clean rules-can-fail mutants gallery fuzz kernel kernel-check $(PRESETS:%=check-%)

help:
	@echo 'make               the release tool: build/anonvm'
	@echo 'make demo          replay a recorded program, run a script (needs a C compiler and CMake)'
	@echo 'make check         build and run all tests, release'
	@echo 'make check-PRESET  ... with a preset: $(PRESETS)'
	@echo 'make check-threads what runs in real threads, under ThreadSanitizer'
	@echo 'make coverage      lines and branches of src/; fails under LINES=$(LINES) BRANCHES=$(BRANCHES)'
	@echo 'make freestanding  the proof that the core needs no libc; sizes and stack'
	@echo 'make lint          format-check, tidy, cppcheck, and the checks of scripts/'
	@echo 'make format        lay out the sources'
	@echo 'make rules-can-fail  breaks rules of docs/rules.md, one by one, and sees tests fail'
	@echo 'make mutants       some 350 one-line mutants of src/, and which test notices each; docs/testing.md'
	@echo 'make gallery       the checker with each of the bugs of lab/gallery: is it found? (ARGS="--seeds 5")'
	@echo 'make fuzz          run the fuzz targets, each for TIME=$(TIME) seconds (clang); docs/fuzzing.md'
	@echo 'make kernel        a kernel for x86-64 on the core, and its programs: examples/kernel, build/kernel'
	@echo 'make kernel-check  ... boots in qemu, on one CPU and two, and runs them'
	@echo 'make bench         measure'
	@echo 'make install       to PREFIX=$(PREFIX), below DESTDIR'
	@echo 'make clean         remove build/'
	@echo 'Knobs: JOBS=$(JOBS) OPS=$(OPS) (length of the property tests) WERROR=$(WERROR) ARGS="more of ctest"'

release-tool:
	@scripts/setup build
	@cmake --preset release -DAVM_WERROR=$(WERROR) >/dev/null
	@cmake --build --preset release --target tools -j $(JOBS)

demo: release-tool
	@scripts/demo build/anonvm

check: check-release

$(PRESETS:%=check-%): check-%:
	@scripts/setup check
	@cmake --preset $* -DAVM_PROPERTY_OPS=$(OPS) $(if $(filter release,$*),-DAVM_WERROR=$(WERROR)) \
		>/dev/null
	@cmake --build --preset $* -j $(JOBS)
	@ctest --preset $* -j $(JOBS) $(ARGS)

# Real threads under ThreadSanitizer: what is built for them, and no more. THREADS: seconds of stress.
THREADS = 5
check-threads:
	@scripts/setup check
	@cmake --preset tsan >/dev/null
	@cmake --build --preset tsan -j $(JOBS) --target threads
	@ctest --preset tsan -j $(JOBS) -L threads $(ARGS)
	@build/tsan/libexec/anonvm/anonvm-stress --threads 3 --processes 4 --yields 100 --quiet --seconds $(THREADS)

# For `anonvm stress --scale`.
scale: release-tool
	@cmake --build --preset release --target scale -j $(JOBS)
	@build/libexec/anonvm/anonvm-stress --scale

coverage:
	@scripts/setup coverage
	@AVM_PROPERTY_OPS=$(OPS) scripts/coverage --jobs $(JOBS) --lines $(LINES) --branches $(BRANCHES)

freestanding:
	@scripts/setup freestanding
	@scripts/check-freestanding --build-dir build/freestanding
	@scripts/check-freestanding --build-dir build/freestanding-x86_64 --arch arch/x86_64 >/dev/null

format format-check tidy cppcheck:
	@scripts/setup lint
	@scripts/$@ --jobs $(JOBS)

lint: format-check tidy cppcheck
	@scripts/check-layers
	@scripts/check-port-size
	@scripts/check-locking
	@scripts/check-prose

rules-can-fail:
	@scripts/setup check
	@scripts/rules-can-fail --jobs $(JOBS) $(ARGS)

mutants:
	@scripts/setup mutants
	@scripts/mutation-score --jobs $(JOBS) $(ARGS)

gallery: release-tool
	@scripts/gallery --build --jobs $(JOBS)
	@build/anonvm check --gallery all $(ARGS)

fuzz:
	@scripts/setup fuzz
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz -j $(JOBS)
	@scripts/fuzz --time $(TIME) --jobs $(JOBS) $(ARGS)

kernel:
	@scripts/setup build
	@$(MAKE) -s -C examples/kernel -j $(JOBS) BUILD=$(CURDIR)/build/kernel

kernel-check:
	@scripts/setup kernel
	@$(MAKE) -s -C examples/kernel -j $(JOBS) BUILD=$(CURDIR)/build/kernel check

bench: release-tool
	@cmake --build --preset release --target microbenchmarks -j $(JOBS) >/dev/null
	@scripts/bench build

install: release-tool
	cmake --install build --prefix $(PREFIX)

clean:
	rm -rf build
