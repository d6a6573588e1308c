# The project's commands. Each prints a few lines; whole logs go to files under target/logs/, which it names.
SHELL := /bin/bash
# A Rust toolchain from rustup is not on the PATH of a bare shell.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint build dist bench bench-quick bench-full clean

help:
	@echo 'make demo    build dray and run a zipped project with it: real tables of three databases, copied into one'
	@echo 'make test    every Rust and Python test, with private database servers (PYTEST="-k copy" narrows the Python ones)'
	@echo 'make test-long  the same at length: 10,000 random tables instead of 200, 300 runs killed instead of 10, dist/ optimized'
	@echo 'make lint    formatting, clippy, links of the documentation, ruff, types'
	@echo 'make bench   dray beside its peers, 40 minutes; bench-quick: 2 minutes; bench-full: hours (BENCH="--peers duckdb")'
	@echo 'make build   the release executable and its native module, in target/release/'
	@echo 'make dist    what users are given, in dist/: one executable for any node, a wheel, a .deb, licences, checksums'
	@echo 'make clean   remove target/ and dist/: what was built, the test environment, the data of the demo, the logs'

demo:
	@$(PYTHON) packaging/demo/run.py

test:
	@$(PYTHON) tests/run.py $(PYTEST)

test-long:
	@DRAY_ROUND_TRIPS=10000 DRAY_KILLS=300 DRAY_DIST=optimized DRAY_TEST_AT_LENGTH=1 $(PYTHON) tests/run.py $(PYTEST)

lint:
	@$(PYTHON) tests/lint.py

build:
	cargo build --release --workspace --locked

dist:
	@$(PYTHON) packaging/dist/run.py

bench:
	@$(PYTHON) benches/copy/run.py $(BENCH)

bench-quick:
	@$(PYTHON) benches/copy/run.py --size quick $(BENCH)

bench-full:
	@$(PYTHON) benches/copy/run.py --size full $(BENCH)

clean:
	rm -rf target dist
