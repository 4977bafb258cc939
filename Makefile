# `make demo` and `make test` install everything they need; see `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Stamps: dependencies of the demo, and additional ones of tests, checks and exports.
DEMO := $(VENV)/.installed-demo
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench format lock clean

help: ## Show the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 16

setup: $(INSTALLED) ## Install thumbnet and its test dependencies into .venv.

demo: $(DEMO) ## Train an ANN and a CNN on CIFAR-10, compare them, write a report (about 6 minutes).
	$(BIN)/thumbnet run

test: setup ## Run the tests, with coverage.
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90

check: setup ## Lint, format and type checks.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: setup ## Run the short benchmarks; benchmarks/README.md lists the long ones.
	$(BIN)/thumbnet bench machine
	$(BIN)/python benchmarks/regression.py
	$(BIN)/python benchmarks/engines.py --widths 32,64,128 --steps 3 --out runs/bench/engines.md
	$(BIN)/python benchmarks/cost_growth.py --short --steps 3 --out runs/bench/cost_growth.md

format: setup ## Format the code and apply the linter's fixes.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-strip-extras --no-emit-index-url --no-emit-find-links --no-header

lock: ## Resolve the dependencies again (needs uv).
	$(COMPILE) --group dev --upgrade --output-file requirements.lock
	$(COMPILE) --extra tensorflow --group build --constraint requirements.lock --output-file requirements-demo.lock

clean: ## Remove everything that the targets created, except runs.
	rm -rf $(VENV) dist .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Hashes are checked. The build tool comes from the lock file, too, hence no build isolation.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "thumbnet needs Python 3.11 or newer; make PYTHON=/path/to/python3.11 $@" >&2; exit 2; }
	@if command -v uv >/dev/null; then \
	  set -ex; \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV); \
	  uv pip sync --quiet --require-hashes --python $(BIN)/python $(1); \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	else \
	  $(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "this Python has no ensurepip; on Debian: apt install python3-venv" >&2; exit 2; }; \
	  set -ex; \
	  $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(1); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@touch $@
endef

$(DEMO): requirements-demo.lock pyproject.toml
	$(call install,requirements-demo.lock)

$(INSTALLED): requirements.lock $(DEMO)
	$(call install,requirements.lock)
