# Everything a contributor needs; each target installs what it stands on, into .venv, and nothing outside this folder.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh

PYTHON ?= python3
# the tests wait more than they work: one process more than there are cores
PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min(8, len(os.sched_getaffinity(0)) + 1))' 2>/dev/null)
VENV := .venv
BIN := $(VENV)/bin
# names the interpreter, so that another Python makes another environment
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
MADE := $(VENV)/made-with-$(VERSION)
INSTALLED := $(VENV)/installed
INSTALLED_DEV := $(VENV)/installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(INSTALLED) $(VENV)/graphiql ## the whole system in this terminal; OPTIONS="--port 9000" passes options
	@exec $(BIN)/python bots.py up $(OPTIONS)

.PHONY: test
test: $(INSTALLED_DEV) ## the tests; ARGS="tests/jobs -k name" chooses
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist worksteal $(ARGS)

.PHONY: check
check: lint ## everything a change must pass
	@$(MAKE) test

.PHONY: lint
lint: $(INSTALLED_DEV) ## ruff, mypy, the arrows between packages, the printed schema
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict .
	@$(BIN)/lint-imports
	@$(BIN)/python bots.py schema --check

.PHONY: bench
bench: $(INSTALLED_DEV) ## the benchmarks, with medians
	@$(BIN)/python -m tests.bench $(ARGS)

.PHONY: chaos
chaos: $(INSTALLED_DEV) ## everything dies at random under load, then it is judged; ARGS="--seed 7 --minutes 3"
	@$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: doctor
doctor: $(INSTALLED) ## what is missing or unreachable
	@$(BIN)/python bots.py doctor

.PHONY: graphiql
graphiql: $(INSTALLED) ## GraphiQL from the npm registry, served from here; needs Node
	@$(BIN)/python -m graph.transports.build_graphiql

.PHONY: lock
lock: $(INSTALLED_DEV) ## resolve pyproject.toml into the two locked, hashed requirements files
	@$(COMPILE) pyproject.toml --output-file requirements.txt
	@$(COMPILE) --group dev pyproject.toml --output-file requirements-dev.txt

.PHONY: clean
clean: ## remove the environment, the data and the caches
	rm -rf $(VENV) .data graph/transports/graphiql .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE):
	@if [ -z "$(VERSION)" ]; then echo "There is no $(PYTHON) here. Install Python 3.11 or newer." >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $(VERSION); 3.11 or newer is needed. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) lacks venv or ensurepip. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) with Python $(VERSION)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@printf '#!/bin/sh\nexec "%s/$(BIN)/python" "%s/bots.py" "$$@"\n' "$(CURDIR)" "$(CURDIR)" > $(BIN)/bots
	@chmod +x $(BIN)/bots
	@touch $@

# the development requirements contain these: after them there is nothing left to install
$(INSTALLED): requirements.txt $(MADE)
	@echo "Installing dependencies, once; this takes a minute"
	@$(PIP) install --require-hashes --requirement requirements.txt
	@touch $@

$(INSTALLED_DEV): requirements-dev.txt $(INSTALLED)
	@echo "Installing development dependencies"
	@$(PIP) install --require-hashes --requirement requirements-dev.txt
	@touch $@

# tried once for each environment: without Node or a network the page loads GraphiQL from a CDN
$(VENV)/graphiql: | $(INSTALLED)
	@[ -d graph/transports/graphiql ] || ! command -v npm >/dev/null || timeout 120 $(MAKE) graphiql \
	  || echo "GraphiQL was not built; the page will load it from a CDN."
	@touch $@
