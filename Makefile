# Everything a developer does with headrace; `make help` lists it. Needs Python 3.11 or later and nothing else.
#
#   PYTHON=python3.12   the interpreter that .venv is made from
#   ROWS=20000000       rows of `make bench`
#   TESTS=tests/data    what `make tests` runs
#   WORKERS=2           processes that run tests
#   MINUTES=60          how long `make soak` goes on

PYTHON ?= python3
ROWS ?= 20000000
TESTS ?=
WORKERS ?= 2
MINUTES ?= 60

VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --quiet

# Tests run in parallel processes; threads inside BLAS would only fight for the same cores. Benchmarks decide for themselves.
tests test-all: export OPENBLAS_NUM_THREADS := 1
tests test-all: export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-all tests lint format types bench soak docs lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.dev ## Make .venv with headrace and everything that develops it

demo: $(VENV)/.dev ## From sample data to a model and its report, in a few minutes
	rm -rf data/flights runs/demo
	$(BIN)/headrace sample flights data/flights
	$(BIN)/headrace profile data/flights --target late --html runs/flights-profile.html
	$(BIN)/headrace run examples/flights/workflow.yaml --cluster cluster/laptop.yaml --run runs/demo
	@echo
	@echo "profile  runs/flights-profile.html"
	@echo "report   runs/demo/report.html"
	@echo "model    runs/demo/model"

test: lint types tests ## Style, types and tests: what has to pass before a change goes in

test-all: lint types $(VENV)/.dev ## The same with the slow tests and those at scale
	HEADRACE_EXAMPLES=new $(BIN)/pytest -m "" -n $(WORKERS) --dist loadfile $(TESTS)

tests: $(VENV)/.dev ## The tests alone
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(TESTS)

lint: $(VENV)/.dev ## Style, import direction, dead code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/vulture

format: $(VENV)/.dev ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## Check types strictly
	$(BIN)/mypy

bench: $(VENV)/.bench ## Measure headrace and its alternatives: make bench ROWS=2000000
	$(BIN)/python benchmarks/run.py --rows $(ROWS)

soak: $(VENV)/.dev ## Small runs under random faults, for an hour: make soak MINUTES=10
	PYTHONPATH=. $(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

docs: $(VENV)/.docs ## Build the documentation into site/
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build -W --keep-going -q -b html docs site
	@echo "docs     site/index.html"

# The locks name no registry, so they install from whichever one pip or uv is set up to use.
lock: $(VENV)/.uv ## Choose the newest versions again
	$(COMPILE) --upgrade --no-annotate -o $(LOCKS)/bootstrap.lock $(LOCKS)/bootstrap.in
	$(COMPILE) --upgrade --all-extras --group dev -o $(LOCKS)/dev.lock pyproject.toml
	$(COMPILE) --upgrade --group bench -c $(LOCKS)/dev.lock -o $(LOCKS)/bench.lock pyproject.toml
	$(COMPILE) --upgrade --group docs -c $(LOCKS)/dev.lock -o $(LOCKS)/docs.lock pyproject.toml

clean: ## Remove what these targets made, but not data, runs and registry
	rm -rf $(VENV) site docs/reference .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Stamps: each is made again only when what it depends on has changed.

$(VENV)/.uv: $(LOCKS)/bootstrap.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "headrace needs Python 3.11 or later; give one: make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# uv reads its own settings, pip reads pip's: where only pip knows the registry, pip installs.
$(VENV)/.dev: $(VENV)/.uv $(LOCKS)/dev.lock pyproject.toml
	$(BIN)/uv pip sync --python $(BIN)/python --quiet --require-hashes $(LOCKS)/dev.lock || \
		$(BIN)/python -m pip install --quiet --require-hashes -r $(LOCKS)/dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-index --no-build-isolation --editable .
	@touch $@

$(VENV)/.bench $(VENV)/.docs: $(VENV)/.%: $(VENV)/.dev $(LOCKS)/%.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --require-hashes -r $(LOCKS)/$*.lock || \
		$(BIN)/python -m pip install --quiet --require-hashes -r $(LOCKS)/$*.lock
	@touch $@
