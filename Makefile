# `make` prints what it can do; CI runs `make check`, the demo and the Dockerfile's steps.
.DEFAULT_GOAL := help
.PHONY: help setup install validators dockerfile demo play test slow check fix lint types layers docs coverage explore bench soak stats requirements schemas clean

PYTHON ?= python3
PREFIX ?= /opt/customer-parity
BIN := .venv/bin
PINNED := -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:
STAMP := .venv/.installed
SLOW := browser scenarios shipping
COVERED := tests/core tests/controller
DOCS := README.md $(sort $(wildcard docs/*.md))

help: ## what can be done here
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) was found." >&2; echo "hint: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "This Python cannot make virtual environments." >&2; echo "hint: on Debian, apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PINNED) -r requirements-dev.txt
	$(BIN)/python $(PINNED) -r requirements-build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP) ## make .venv and install what is pinned

# The tools that build the package are in a folder of their own, so that the environment holds what runs and nothing else.
install: ## install for production, without development tools (`make install PREFIX=/opt/customer-parity`)
	$(PYTHON) -m venv $(PREFIX)
	$(PREFIX)/bin/python $(PINNED) -r requirements.txt
	tools=$$(mktemp -d) && trap 'rm -rf "$$tools" build' EXIT && rm -rf build && \
	  $(PREFIX)/bin/python $(PINNED) --target "$$tools" -r requirements-build.txt && \
	  PYTHONPATH="$$tools" $(PREFIX)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --no-build-isolation --force-reinstall .
	$(PREFIX)/bin/python -m pip uninstall --quiet --disable-pip-version-check --yes setuptools pip
	@du -sm $(PREFIX) | awk '{print "$(PREFIX)/bin/reconciler is installed: " $$1 " MB"}'

validators: $(STAMP) ## install what checks the files for operators, beside the rest
	$(BIN)/python $(PINNED) -r requirements-validators.txt

dockerfile: $(STAMP) ## execute the Dockerfile's steps in a folder, without Docker
	$(BIN)/python -m tests.shipping.dockerfile

demo: $(STAMP) ## two simulated shops, 200 people, from nothing to an empty plan
	@$(BIN)/reconciler demo

play: $(STAMP) ## the simulated shops, a table and the controller with its console, to try things
	@$(BIN)/reconciler demo --serve

# Compiled files are kept, whatever the shell says: each worker and each process that a test starts would compile again.
test: $(STAMP) ## the test suite less what is slow (`make test ARGS="-k guard"` runs a part of both)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(if $(ARGS),$(ARGS),-m "not slow and not explore" $(SLOW:%=--ignore tests/%))

slow: $(STAMP) ## the rest of it: processes, browser, packages, more rows of each matrix
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "slow and not explore" $(ARGS)

check: lint types layers docs test slow ## all that can be checked here; CI runs the same, the demo and the Dockerfile's steps

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict, tests included
	$(BIN)/mypy

layers: $(STAMP) ## import-linter: the order of layers and stages
	$(BIN)/lint-imports

docs: $(STAMP) ## generated parts of the docs are current
	$(BIN)/cog -I . --check $(DOCS)

# Tracing makes a test take half as long again: those of core and controller tell most.
coverage: $(STAMP) ## branch coverage of core and controller by their own tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(COVERED) $(ARGS) --cov

fix: $(STAMP) ## repair what can be repaired
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/cog -I . -r $(DOCS)
	$(BIN)/reconciler schema --out config/schema

explore: $(STAMP) ## the long profile of the random tests, and twelve minutes of the simulation
	HYPOTHESIS_PROFILE=explore PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "explore or not explore" -k "property or machine or explore" --timeout 3600
	$(BIN)/python -m tests.simulation --minutes 4 --minimise 10
	$(BIN)/python -m tests.simulation --minutes 4 --minimise 10 --postgres
	$(BIN)/python -m tests.simulation --minutes 4 --minimise 10 --long

bench: $(STAMP) ## the benchmarks: one table, and raw figures as JSON
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m tests.benchmarks

soak: $(STAMP) ## whole processes under seeded faults (`make soak SEED=7 MINUTES=2`); exit 1 if anything is wrong
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(ARGS)

stats: $(STAMP) ## figures of the code base: lines, names, words
	$(BIN)/python -m tests.standards.stats

schemas: $(STAMP) ## write config/schema/*.json
	$(BIN)/reconciler schema --out config/schema

requirements: ## pin the newest versions (needs uv)
	uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --no-strip-extras pyproject.toml -o requirements.txt
	uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --no-strip-extras --extra dev --extra simulator pyproject.toml -o requirements-dev.txt
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["validators"], sep="\n")' | \
	  uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --no-strip-extras -c requirements-dev.txt - -o requirements-validators.txt
	echo 'setuptools' | uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --no-strip-extras - -o requirements-build.txt

clean: ## remove the environment and what the demo left
	rm -rf .venv var .cache build dist
