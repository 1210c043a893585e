# Every target does its own set-up: on Debian 12, as root, with Rust installed and nothing else of ours.
# The second run of anything finds its set-up done.

SHELL := /bin/bash
CARGO ?= cargo
PREFIX ?= /usr/local
SECONDS_PER_TARGET ?= 60

.PHONY: help demo demo-stop build test lint bench fuzz install

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## build Stead, boot a small real guest in it, and say how to reach it
	@scripts/demo start

demo-stop: ## stop what make demo started and remove every trace of it
	@scripts/demo stop

build: ## build the release binary, target/release/stead
	@scripts/packages build
	@$(CARGO) build --release --locked -p stead

test: ## everything that must pass: formatting, lints, unit, property and end-to-end tests, a short fuzz run
	@scripts/test

lint: ## formatting, clippy, rules of the tree, licences of what is linked
	@scripts/lint --full

bench: ## measure Stead and Debian's libvirtd side by side, with the same clients
	@scripts/bench

fuzz: ## fuzz every parser of outside bytes (SECONDS_PER_TARGET=60)
	@scripts/fuzz $(SECONDS_PER_TARGET)

install: build ## install binary, manual pages, completions and the systemd unit below PREFIX (and DESTDIR)
	@$(CARGO) xtask install --prefix '$(PREFIX)' --destdir '$(DESTDIR)'
