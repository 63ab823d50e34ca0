# palmtop: `make demo` and `make test` each do all set-up on a fresh machine; a second run starts in seconds.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not ((3,11) <= sys.version_info[:2] <= (3,13)))' 2>/dev/null && { echo "$$p"; break; }; done)
FILES := toolkit mobile_harness tests benchmarks
# A stamp carries the hash of what it was installed from, so a changed pyproject.toml installs again.
KEY := $(shell cksum pyproject.toml | cut -d' ' -f1)
DEMO_READY := $(VENV)/.ready-demo-$(KEY)
DEV_READY := $(VENV)/.ready-dev-$(KEY)

.PHONY: help demo test coverage test-aosp test-all test-ios lint setup clean swift-toolchain
help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(DEMO_READY) ## Run the main job on a real model and real labelled data, ending in a report
	$(BIN)/palmtop demo $(ARGS)

test: lint ## Check style, types and floors, then run all tests
	$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

coverage: $(DEV_READY) ## Run all tests with branch coverage, child processes included: 85 % or it fails; takes half as long again
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n 3 --dist loadfile --cov --cov-report=term $(ARGS)

test-all: ## The same with the slow tests, such as the trained demos and long fault runs
	$(MAKE) test ARGS="--slow $(ARGS)"

test-aosp: $(DEV_READY) ## Run AOSP's own device tests against a virtual device, behind both adb versions (fetches them by apt)
	$(BIN)/python tests/aosp/aosp_suite.py

lint: $(DEV_READY) ## Check style, types and floors
	$(BIN)/ruff format --check $(wildcard $(FILES))
	$(BIN)/ruff check $(wildcard $(FILES))
	$(BIN)/mypy
	$(BIN)/lint-imports

test-ios: $(DEV_READY) ## On a Mac with Xcode: build the generated app, boot a simulator, run the device contract on it
	$(BIN)/python tests/mac/prove_ios.py

setup: $(DEV_READY) ## Make the virtual environment with everything for development

swift-toolchain: ## Set up Swift from Debian trixie in ~/.cache/palmtop/swift or $PALMTOP_SWIFT (as root, 3.3 GB), for the slow tests of iOS apps
	tests/ios/swift_toolchain.sh

clean: ## Remove what was made here, but not your results
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage* .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "palmtop needs Python 3.11, 3.12 or 3.13: install one, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python's venv module is missing; installing it"; \
		if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -y -q python3-venv; \
		else echo "Run: sudo apt-get install python3-venv" >&2; exit 1; fi; }
	$(PYTHON) -m venv $(VENV)

$(DEMO_READY): $(BIN)/python pyproject.toml
	@test ! -e $(DEV_READY) || touch $@
	@test -e $@ || { echo "Installing palmtop and its libraries into $(VENV): about 3 GB, a few minutes, once."; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]' && touch $@; }

$(DEV_READY): $(BIN)/python pyproject.toml
	@test -e $@ || { echo "Installing palmtop and its libraries into $(VENV): about 3 GB, a few minutes, once."; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' && touch $@; }
