# Two commands on a fresh Debian or Ubuntu machine with a Rust toolchain: `make demo` and `make test`.
# Both install the packages that they lack. Everything runs in namespaces of its own.

CARGO ?= cargo
# The lab makes namespaces, so its users run as root; cargo itself need not.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo -E,)
AS_ROOT := $(foreach arch,X86_64 AARCH64,CARGO_TARGET_$(arch)_UNKNOWN_LINUX_GNU_RUNNER='$(SUDO)')

# The machine's own target, which a static binary has to name: without, build scripts would be static, too.
# Asked for where it is used: root, who installs, may have no toolchain.
HOST = $(shell $(CARGO) -vV | sed -n 's/^host: //p')
DIST := target/dist/ovs-port-manager
STATIC = CARGO_TARGET_$(shell echo $(HOST) | tr a-z- A-Z_)_RUSTFLAGS='-C target-feature=+crt-static'

# Where `make install` puts things; DESTDIR is put before it by those who make packages.
PREFIX ?= /usr/local
DESTDIR ?=

# The name of the image that `make image` makes.
IMAGE ?= ovs-port-manager:latest

# Below PREFIX/share: of bash, fish and zsh.
COMPLETIONS := bash-completion/completions/ovs-port-manager \
    fish/vendor_completions.d/ovs-port-manager.fish zsh/site-functions/_ovs-port-manager

CARGO_DEB := target/tools/bin/cargo-deb
CARGO_DEB_VERSION := 3.8.0
CARGO_CYCLONEDX := target/tools/bin/cargo-cyclonedx
CARGO_CYCLONEDX_VERSION := 0.5.9

.PHONY: help demo test lint bench bench-ovsdb soak hostile fault-matrix deps docs build \
    dist install uninstall image deb check-deb sbom

help:
	@echo "make demo   see the main job done in a private lab"
	@echo "make test   all tests, against a real Docker, Open vSwitch and kernel"
	@echo "make lint   formatting, clippy, generated files"
	@echo "make bench  what it costs, beside the least possible and ovs-docker (CASES='single burst', SHORT=1)"
	@echo "make bench-ovsdb  the OVSDB client beside ovs-vsctl and the Python IDL"
	@echo "make soak   random containers and faults for an hour (MINUTES=, SEED=)"
	@echo "make hostile  a hostile container beside twenty good ones for ten minutes (MINUTES=)"
	@echo "make fault-matrix  each fault under each load, at every boundary between steps"
	@echo "make docs   regenerate what is generated: typed rows, docs/labels.md"
	@echo "make build  the release binary, target/release/ovs-port-manager"
	@echo "make dist   the same as one static file, $(DIST)"
	@echo "make install    it, its manual, completions and unit, below PREFIX ($(PREFIX)) and DESTDIR"
	@echo "make image  the container image $(IMAGE)"
	@echo "make deb    the Debian package, target/debian/"
	@echo "make sbom   its bill of materials (CycloneDX), target/sbom/"
	@echo "make check-deb  lintian, systemd-analyze; installs, starts and purges it, in a copy of this system"

deps:
	@scripts/install-deps.sh

demo: deps
	$(CARGO) build --locked -p ovs-port-manager --bin ovs-port-manager --example demo
	$(SUDO) target/debug/examples/demo target/debug/ovs-port-manager

test: deps dist
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

hostile: deps
	$(if $(SUDO),$(AS_ROOT)) $(CARGO) test --locked --release -p ovs-port-manager --test faults -- \
	    --hostile $(or $(MINUTES),10)

# `make test` runs its short form.
fault-matrix: deps
	$(if $(SUDO),$(AS_ROOT)) $(CARGO) test --locked -p ovs-port-manager --test faults -- --matrix full

docs:
	$(CARGO) xtask codegen
	$(CARGO) xtask docs

build:
	$(CARGO) build --locked --release -p ovs-port-manager

dist:
	$(STATIC) $(CARGO) build --locked --release --target $(HOST) -p ovs-port-manager
	install -D target/$(HOST)/release/ovs-port-manager $(DIST)
	@! readelf -lW $(DIST) | grep -q INTERP || { echo "$(DIST) is not static; is RUSTFLAGS set?"; exit 1; }
	@ls -l $(DIST)

# Of what is built: nothing is compiled here, so that it can be run by root.
install:
	@test -x $(DIST) || { echo "there is no $(DIST) yet: make dist"; exit 1; }
	install -D -m 755 $(DIST) $(DESTDIR)$(PREFIX)/bin/ovs-port-manager
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	$(DIST) man --dir $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,$(dir $(COMPLETIONS)))
	$(DIST) completions bash > $(DESTDIR)$(PREFIX)/share/$(word 1,$(COMPLETIONS))
	$(DIST) completions fish > $(DESTDIR)$(PREFIX)/share/$(word 2,$(COMPLETIONS))
	$(DIST) completions zsh > $(DESTDIR)$(PREFIX)/share/$(word 3,$(COMPLETIONS))
	install -D -m 644 configs/ovs-port-manager.yaml \
	    $(DESTDIR)$(PREFIX)/share/doc/ovs-port-manager/ovs-port-manager.yaml
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/bin/|$(PREFIX)/bin/|' packaging/systemd/ovs-port-manager.service \
	    > $(DESTDIR)$(PREFIX)/lib/systemd/system/ovs-port-manager.service

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/ovs-port-manager
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/ovs-port-manager.1
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/ovs-port-manager-*.1
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/,$(COMPLETIONS))
	rm -f $(DESTDIR)$(PREFIX)/share/doc/ovs-port-manager/ovs-port-manager.yaml
	rm -f $(DESTDIR)$(PREFIX)/lib/systemd/system/ovs-port-manager.service

# The binary is made here, not in the image: no base image has to be pulled.
image: dist
	rm -rf target/image
	install -D $(DIST) target/image/ovs-port-manager
	docker build --quiet --tag $(IMAGE) --file packaging/docker/prebuilt.Dockerfile target/image
	@docker image inspect --format '$(IMAGE): {{.Size}} bytes' $(IMAGE)

$(CARGO_DEB):
	$(CARGO) install --locked --quiet --root target/tools --version $(CARGO_DEB_VERSION) cargo-deb

deb: dist $(CARGO_DEB)
	rm -rf target/stage
	$(MAKE) --no-print-directory install DESTDIR=target/stage PREFIX=/usr
	$(CARGO_DEB) --quiet --no-build --target $(HOST) -p ovs-port-manager --output target/debian/

check-deb: deb
	$(SUDO) packaging/debian/check.sh target/debian/*.deb

$(CARGO_CYCLONEDX):
	$(CARGO) install --locked --quiet --root target/tools --version $(CARGO_CYCLONEDX_VERSION) cargo-cyclonedx

# The tool writes beside the manifest of each member of the workspace.
sbom: $(CARGO_CYCLONEDX)
	$(CARGO_CYCLONEDX) cyclonedx --quiet --format json --target $(HOST) --spec-version 1.5 --override-filename made.cdx \
	    --manifest-path crates/ovs-port-manager/Cargo.toml
	install -D -m 644 crates/ovs-port-manager/made.cdx.json target/sbom/ovs-port-manager.cdx.json
	rm -f crates/*/made.cdx.json xtask/made.cdx.json
