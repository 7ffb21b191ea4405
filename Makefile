# One command each, from a fresh clone: what is missing is set up first, nothing is asked.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
DEMO_SECONDS ?= 90
DEMO_KILLS ?= 0
export DEMO_KILLS
TEST_PROCESSES ?= 2
SEEDS ?= 1
PROFILE ?= short

VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made
LOCKED := $(VENV)/.locked
LINKED := $(VENV)/.linked

.PHONY: help setup host lint test demo bench chaos

help:
	@echo "make setup   host packages (as root on Debian or Ubuntu), .venv, locked dependencies"
	@echo "make test    lints, types, import contracts, every test; a missing service is a failure"
	@echo "make lint    lints, types and import contracts alone"
	@echo "make demo    the whole system on this machine; DEMO_SECONDS=90 (0: until Ctrl-C), DEMO_KILLS=1 kills parts on the way"
	@echo "make bench   NAME=stream, store, spool or reconcile, ONLY=section: figures beside their bars, kept in bench/"
	@echo "make chaos   SEED=n, SEEDS=20, PROFILE=short or long: faults on a real broker and engine, judged by an oracle"

setup: host $(LINKED)

host:
	@bash deploy/host_packages.sh

$(MADE):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}, 3.11 or newer is needed: make PYTHON=python3.12 setup")'
	@echo "setup: $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# uv reads the same hashes ten times as fast; where it cannot reach what pip is set up to reach, pip does it.
$(LOCKED): requirements/uv.txt requirements/dev.txt $(MADE)
	@echo "setup: locked dependencies"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.txt || \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(LINKED): pyproject.toml $(LOCKED)
	@echo "setup: isochrone itself"
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

lint: setup
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: lint
	@ISOCHRONE_REQUIRE_SERVICES=1 $(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

demo: setup
	@$(BIN)/isochrone demo --seconds $(DEMO_SECONDS)

# What the peers of a bench need is locked apart; it is no part of the product.
bench: setup
	@PYTHONPATH=tests $(BIN)/python -m benchmarks $(NAME) $(if $(ONLY),--only $(ONLY))

chaos: setup
	@PYTHONPATH=tests $(BIN)/python -m chaos $(if $(SEED),--seed $(SEED)) --seeds $(SEEDS) --profile $(PROFILE)
