# Lectern. `make run` starts a demo class on this machine; `make test` runs every test. Both do their own set-up, and a
# second run skips what is already there (stamps in .tools/stamps). `make help` lists the rest.
#
# One dev-profile build serves run, test and the browser tests: its dependencies are optimised (Cargo.toml), and compiling
# everything a second time for release would double the minutes to the first page. `make release` makes the binary to ship.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

STAMPS := .tools/stamps
BINARY := target/debug/lectern
# Arguments for `lectern serve` in `make run`, for example: make run ARGS="--http-listen 127.0.0.1:9000"
ARGS ?=
# Which browser tests to run, for example: make e2e E2E=codecs
E2E ?=

# Our scripts outside of web/ follow its style.
PRETTIER := web/node_modules/.bin/prettier --config web/.prettierrc.json --log-level warn
SCRIPTS := 'tests/e2e/**/*.{mjs,html}' 'tests/house/*.mjs'

WEB_SOURCES := $(shell find web -type f \( -path '*/node_modules' -o -path '*/dist' \) -prune -o -type f \
  -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/.vite/*' -print 2>/dev/null)

# What the tests with real browsers and clients need beside the server.
E2E_NEEDS := $(addprefix $(STAMPS)/,e2e-deps browsers foreign pebble versitygw venv)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: run
run: build ## build what is missing, start a demo class, print its links
	@exec $(BINARY) serve --demo $(ARGS)

.PHONY: build
build: $(STAMPS)/tools $(STAMPS)/web-build ## web pages and server (dev profile)
	@cargo build --bin lectern

.PHONY: release
release: $(STAMPS)/tools $(STAMPS)/web-build ## the binary to ship: target/release/lectern, pages inside
	@cargo build --release --bin lectern

.PHONY: test
test: house test-rust test-web $(E2E_NEEDS) ## everything: house rules, Rust, web, real browsers, Python client
	@$(MAKE) browsers-test
	@echo "make test: all passed"

.PHONY: house
house: $(STAMPS)/tools ## the house's own rules: arrows, purity, licences, links
	@echo "== house rules"
	@node --test --test-reporter=dot tests/house/
	@node tests/house/run.mjs

.PHONY: test-rust
test-rust: $(STAMPS)/tools $(STAMPS)/ffmpeg $(STAMPS)/web-build ## unit, property, fixture and simulation tests
	@echo "== Rust tests"
	@cargo test --workspace

.PHONY: test-web
test-web: $(STAMPS)/web-deps ## vitest
	@echo "== web tests"
	@cd web && npm run --silent test

.PHONY: e2e
e2e: build $(E2E_NEEDS) ## the real server with real browsers and clients
	@$(MAKE) browsers-test

# With the server that is there: `cargo test` has built it already, and `cargo build` would once more, with half of its crates, as their features
# are other ones without those that only tests have.
.PHONY: browsers-test
browsers-test:
	@cargo build --workspace --bin udp-proxy --bin webrtc-client
	@echo "== end to end"
	@cd tests/e2e && node run.mjs $(E2E)

.PHONY: fmt
fmt: $(STAMPS)/web-deps ## format everything
	@cargo fmt --all
	@cd web && npm run --silent format
	@$(PRETTIER) --write $(SCRIPTS)

.PHONY: lint
lint: $(STAMPS)/web-deps ## what .ci/run checks before the tests
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- -D warnings
	@cd web && npm run --silent check && npm run --silent lint
	@$(PRETTIER) --check $(SCRIPTS)

.PHONY: bench
bench: build $(STAMPS)/e2e-deps $(STAMPS)/browsers ## measure again what docs/benchmarks.md shows
	@cd tests/e2e && node bench/run.mjs $(BENCH)

.PHONY: clean-stamps
clean-stamps: ## forget what was set up
	@rm -rf $(STAMPS)

# Set-up, once each. A stamp is younger than what it was made from, and counts for nothing when what it stands for is gone:
# a server without its pages would build all the same.

there = $(if $(wildcard $(1)),,again)
.PHONY: again
again: ;

$(STAMPS)/tools: scripts/need | $(STAMPS)
	@# cmake builds libopus, which mixes the voices of a recording.
	@scripts/need cargo node npm cc cmake
	@touch $@

$(STAMPS)/ffmpeg: scripts/need | $(STAMPS)
	@scripts/need ffmpeg ffprobe
	@touch $@

$(STAMPS)/browsers: scripts/need | $(STAMPS)
	@scripts/need chromium firefox ip nft openssl turnutils_uclient turnserver
	@touch $@

$(STAMPS)/foreign: scripts/need | $(STAMPS)
	@scripts/need gstreamer openssl
	@touch $@

# The authority that certificates are got from in tests, and its Go.
PEBBLE := v2.10.3
$(STAMPS)/pebble: scripts/need Makefile $(call there,.tools/bin/pebble) | $(STAMPS)
	@scripts/need go
	@GOBIN=$(CURDIR)/.tools/bin go install github.com/letsencrypt/pebble/v2/cmd/pebble@$(PEBBLE)
	@touch $@

# The bucket that recordings are brought to in tests: the protocol of S3 on a folder.
VERSITYGW := v1.8.0
$(STAMPS)/versitygw: scripts/need Makefile $(call there,.tools/bin/versitygw) | $(STAMPS)
	@scripts/need go
	@GOBIN=$(CURDIR)/.tools/bin go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)
	@touch $@

$(STAMPS)/venv: tests/e2e/python/requirements.txt scripts/need $(call there,.venv/bin/pip) | $(STAMPS)
	@scripts/need python3-venv
	@python3 -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --requirement tests/e2e/python/requirements.txt
	@touch $@

$(STAMPS)/web-deps: web/package-lock.json $(STAMPS)/tools $(call there,web/node_modules)
	@cd web && npm ci --silent
	@touch $@

$(STAMPS)/web-build: $(STAMPS)/web-deps $(WEB_SOURCES) $(call there,web/dist/index.html)
	@echo "== web pages"
	@cd web && npm run --silent build
	@touch $@

$(STAMPS)/e2e-deps: tests/e2e/package-lock.json $(STAMPS)/tools $(call there,tests/e2e/node_modules)
	@cd tests/e2e && npm ci --silent
	@touch $@

$(STAMPS):
	@mkdir -p $@
