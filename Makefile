# Needs python3 (3.11 or newer), make and a network. Everything is installed into .venv beside this file.
PYTHON ?= python3
BIN := .venv/bin
CODE := $(wildcard crdtsync adapters tests benchmarks docs)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format simulate bench bench-peers bench-quick clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/installed ## Run a real week of sales through ten processes, offline and back
	$(BIN)/crdtsync demo

# Three workers for two processors: a third of the tests mostly waits for processes that they started.
test: .venv/installed ## Run the tests
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  echo "No Chromium here: the tests of the page in a browser are skipped. On Debian: apt-get install chromium" >&2
	@command -v cc >/dev/null || \
	  echo "No C compiler here: the test of power cuts is skipped. On Debian: apt-get install gcc libc6-dev" >&2
	$(BIN)/pytest --numprocesses 3 --dist worksteal

lint: .venv/installed ## ruff and mypy over everything, tests included
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(CODE)

format: .venv/installed ## Write the code the way lint wants it
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

simulate: .venv/installed ## Run 1,000 simulated clusters over the retail adapters
	$(BIN)/crdtsync simulate --schedules 1000 --seed 1

bench: .venv/installed ## Measure how fast and how small, in less than 20 minutes
	$(BIN)/python -m benchmarks --json build/bench.json --markdown build/bench.md

bench-peers: .venv/installed ## Measure beside other systems, 60 seconds a cell; installs them first
	$(BIN)/python -m pip install --quiet --editable '.[dev,peers]'
	$(BIN)/python -m benchmarks.peers install
	$(BIN)/python -m benchmarks --peers --json build/bench-peers.json --markdown build/bench-peers.md

bench-quick: .venv/installed ## Measure how fast and how small, with small sizes
	$(BIN)/python -m benchmarks --quick

clean: ## Remove what the other targets made
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis mutants

# The stamp is written last, so an interrupted installation starts over.
.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11. Install a newer one, or name it: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "$(PYTHON) cannot make a virtual environment. On Debian: apt-get install python3-venv" >&2; exit 3; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
