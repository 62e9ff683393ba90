# Each target does all of its own set-up. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON := build/venv/bin/python
OBJECTS := $(patsubst %.bpf.c,build/bpf/%.bpf.o,$(notdir $(wildcard \
	bpf/*.bpf.c tests/bpf/*.bpf.c tests/bench/*.bpf.c)))
MACHINE := $(shell uname -m)
TARGET_ARCH := $(MACHINE:x86_64=x86)
TARGET_ARCH := $(TARGET_ARCH:aarch64=arm64)
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror \
	-I bpf/include -I /usr/include/$(MACHINE)-linux-gnu -D__TARGET_ARCH_$(TARGET_ARCH)

.PHONY: help
help:
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

.PHONY: setup venv
setup:
	@scripts/setup
venv: setup ## Debian packages and build/venv

.PHONY: objects
objects: $(OBJECTS) ## the datapath, compiled to build/bpf/

define compile
@mkdir -p build/bpf
clang-19 $(BPF_CFLAGS) -MMD -MP -c $< -o $@
@llvm-strip-19 -g $@
endef
build/bpf/%.bpf.o: bpf/%.bpf.c Makefile | setup
	$(compile)
build/bpf/%.bpf.o: tests/bpf/%.bpf.c Makefile | setup
	$(compile)
build/bpf/%.bpf.o: tests/bench/%.bpf.c Makefile | setup
	$(compile)
-include $(wildcard build/bpf/*.d)

.PHONY: demo
demo: setup objects ## watch an IPv6-only pod reach the IPv4 world
	@build/venv/bin/edge64 lab demo

.PHONY: test lint unit bpf netns
test: setup objects ## every check and every test tier
	@$(PYTHON) -m tests.tiers
lint unit bpf netns: setup objects ## one tier of make test
	@$(PYTHON) -m tests.tiers $@

.PHONY: bench
bench: setup objects ## measure, and write build/bench.json
	@$(PYTHON) -m tests.bench

.PHONY: lab-clean
lab-clean: setup ## take down whatever labs were left behind
	@build/venv/bin/edge64 lab down --all

.PHONY: format
format: setup ## rewrite Python and C in the house's format
	@build/venv/bin/ruff format --quiet
	@build/venv/bin/ruff check --quiet --fix --exit-zero
	@git ls-files '*.bpf.c' '*.bpf.h' '*_shared.h' | xargs --no-run-if-empty clang-format-19 -i

.PHONY: clean
clean: ## remove build/
	rm -rf build
