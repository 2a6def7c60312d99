# A fresh Debian 12 with the Rust toolchain, make and git needs no more than `make run` or `make test`.
#
# Everything is built in the release profile: RocksDB's C++ takes minutes, and so it is compiled once.

CARGO ?= cargo
# rustup's place, for shells that were opened before it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help run test corpus load bench bench-rules fuzz build fmt lint check setup

help:           ## Say what can be made.
	@sed -n 's/^\([a-z-]*\): .*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: setup      ## Build mxkeep and show what it does, on this machine alone.
	$(CARGO) run --release --locked -- demo

test: setup-test ## Run all tests.
	$(CARGO) test --release --locked

corpus: setup-test ## Send thousands of real mails, if they are beside the repository, and print the figures.
	$(CARGO) test --release --locked --test suite corpus -- --nocapture

load: setup-test ## Measure the promised load figures in full, some minutes long, and print them.
	MXKEEP_LOAD=1 $(CARGO) test --release --locked --test suite load:: -- --nocapture --test-threads 1 --skip crash_load --skip reload

bench: setup    ## Measure what authenticating a known sender's message costs, beside its cryptography alone.
	$(CARGO) bench --locked --bench authentication

bench-rules: setup-test ## Measure what Debian's SpamAssassin rules cost over real mail, beside SpamAssassin itself.
	$(CARGO) bench --locked --bench rules

fuzz: setup     ## Fuzz what reads octets from outside, SECONDS_EACH=60 a target. A finding fails, and says where it is.
	@tests/fuzz/run

build: setup    ## Build target/release/mxkeep.
	$(CARGO) build --release --locked

fmt:            ## Format the code.
	$(CARGO) fmt

lint: setup     ## Is the code formatted, and is clippy content?
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings

check: lint test ## All that must be well before a commit.

setup:          ## Install the Debian packages that the build needs.
	@.ci/setup build

.PHONY: setup-test
setup-test:
	@.ci/setup build test
