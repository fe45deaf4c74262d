# Two commands on a fresh Debian or Ubuntu machine with a Rust toolchain: `make demo` and `make test`.
# Both install the packages that they lack. Everything runs in namespaces of its own.

CARGO ?= cargo
# The lab makes namespaces, so its users run as root; cargo itself need not.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo -E,)
AS_ROOT := $(foreach arch,X86_64 AARCH64,CARGO_TARGET_$(arch)_UNKNOWN_LINUX_GNU_RUNNER='$(SUDO)')

.PHONY: help demo test lint bench bench-ovsdb soak fault-matrix deps docs build

help:
	@echo "make demo   see the main job done in a private lab"
	@echo "make test   all tests, against a real Docker, Open vSwitch and kernel"
	@echo "make lint   formatting, clippy, generated files"
	@echo "make bench  what it costs, beside the least possible and ovs-docker (CASES='single burst', SHORT=1)"
	@echo "make bench-ovsdb  the OVSDB client beside ovs-vsctl and the Python IDL"
	@echo "make soak   random containers and faults for an hour (MINUTES=, SEED=)"
	@echo "make fault-matrix  each fault under each load, at every boundary between steps"
	@echo "make docs   regenerate what is generated: typed rows, docs/labels.md"
	@echo "make build  the release binary, target/release/ovs-port-manager"

deps:
	@scripts/install-deps.sh

demo: deps
	$(CARGO) build --locked -p ovs-port-manager --bin ovs-port-manager --example demo
	$(SUDO) target/debug/examples/demo target/debug/ovs-port-manager

test: deps
	$(if $(SUDO),$(AS_ROOT)) $(CARGO) test --locked --workspace

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items

# CASES names some cases (single, burst, churn, standing, teardown), SHORT=1 does less of each.
bench: deps
	$(if $(SUDO),$(AS_ROOT)) $(CARGO) bench --locked -p ovs-port-manager --bench suite -- \
	    $(foreach case,$(CASES),--case $(case)) $(if $(SHORT),--short)

# Beside ovs-vsctl, a raw socket and the Python IDL, which it installs with pip under target/.
bench-ovsdb: deps
	$(CARGO) bench --locked -p ovsdb --bench compare

# MINUTES how long, SEED to repeat a run's choices.
soak: deps
	$(if $(SUDO),$(AS_ROOT)) $(CARGO) test --locked -p ovs-port-manager --test faults -- \
	    --soak $(or $(MINUTES),60) $(SEED)

# `make test` runs its short form.
fault-matrix: deps
	$(if $(SUDO),$(AS_ROOT)) $(CARGO) test --locked -p ovs-port-manager --test faults -- --matrix full

docs:
	$(CARGO) xtask codegen
	$(CARGO) xtask docs

build:
	$(CARGO) build --locked --release -p ovs-port-manager
