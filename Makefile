# All that a checkout needs; `make` alone lists it. Everything is installed into .venv, nothing outside the checkout.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Written when an installation has ended well, so that the next call starts at once. A change of pyproject.toml (a
# dependency, an entry point) makes them stale.
RUNTIME := $(VENV)/installed
DEVELOPMENT := $(VENV)/installed-dev

# pip tells what it is doing, with bars, on a terminal; elsewhere only what goes wrong.
PIP_INSTALL := test -t 1 && quiet= || quiet=--quiet; \
  $(BIN)/python -m pip install --disable-pip-version-check --no-input $$quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-slow lint types check docs docs-serve pictures install clean

help: ## list what there is
	@echo "make demo      install, then train and compare two small detectors on drawn scenes (examples/quickstart.toml)"
	@echo "make test      install, then run the test suite; ARGS=... goes to pytest"
	@echo "make test-slow run what make test leaves out for its length: every pair of detector and backbone, and more"
	@echo "make lint      ruff: rules and format"
	@echo "make types     mypy --strict"
	@echo "make check     lint, types and test"
	@echo "make docs      build the documentation into build/site; a warning is an error"
	@echo "make docs-serve show it at http://127.0.0.1:8000, and again when a page changes"
	@echo "make pictures  make the pictures of the documentation anew: runs the quickstart, needs Chromium"
	@echo "make install   the package with all that development needs, into $(VENV)"
	@echo "make clean     remove $(VENV), builds and caches; runs/ stays"
	@echo "PYTHON=...     the Python to use, 3.11 or later; now: $(PYTHON)"

demo: $(RUNTIME)
	@echo "== running examples/quickstart.toml: two small detectors learn from nothing, on the CPU"
	@$(BIN)/python -m detkit run examples/quickstart.toml --fresh

# Tests are taken over from a worker that has many left: some take a hundred times as long as others.
# One thread a worker: torch's threads spin while they wait, and those of several processes take the cores from each
# other.
test: $(DEVELOPMENT)
	@echo "== running the tests"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m "not slow" $(ARGS)

test-slow: $(DEVELOPMENT)
	@echo "== running the tests that take long"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m slow $(ARGS)

lint: $(DEVELOPMENT)
	@echo "== checking style"
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .

types: $(DEVELOPMENT)
	@echo "== checking types"
	@$(BIN)/python -m mypy

check: lint types test

# The variable silences the theme's notice about a later mkdocs.
docs: $(DEVELOPMENT)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open build/site/index.html; searching needs make docs-serve"

docs-serve: $(DEVELOPMENT)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

pictures: $(DEVELOPMENT)
	@$(BIN)/python docs/pictures/make.py $(ARGS)

install: $(DEVELOPMENT)

clean:
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: there is no $(PYTHON); install Python 3.11 or later, or name one: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is `$(PYTHON) --version 2>&1`; detkit needs 3.11 or later: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; \
	  exit 1; }
	@echo "== creating $(VENV) with `$(PYTHON) --version`"
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml $(VENV)/pyvenv.cfg
	@echo "== installing detkit and what it needs into $(VENV): up to 6 GB with torch, some minutes the first time"
	@$(PIP_INSTALL) --editable .
	@touch $@

# hatchling: a test builds the wheel with the packages that are installed, without a network.
$(DEVELOPMENT): pyproject.toml $(VENV)/pyvenv.cfg
	@echo "== installing detkit, what it needs and the test tools into $(VENV): up to 6 GB with torch, some minutes the first time"
	@$(PIP_INSTALL) --editable '.[dev]' 'hatchling>=1.26'
	@touch $(RUNTIME) $@
