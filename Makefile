# All targets work in .venv; the machine needs only Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

NEW_ENOUGH := 'import sys; sys.exit(sys.version_info < (3, 11) and "rampwatch needs Python 3.11 or newer; this is " \
	+ sys.version.split()[0] + "; try: make PYTHON=python3.12 demo" or 0)'

.PHONY: help demo test soak lint bench schemas sites lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     play a simulated Hartford evening through a local Kafka (ARGS='--site kansas-city', …)"
	@echo "make test     run all checks and tests (ARGS='-k rebuild', …)"
	@echo "make soak     run the same tests with much larger numbers, for hours"
	@echo "make lint     check types, style and import direction"
	@echo "make bench    measure a worker beside its baselines, on a local Kafka"
	@echo "make schemas  regenerate schemas/ from the types"
	@echo "make clean    remove .venv and caches"

$(VENV)/demo: requirements-demo.txt pyproject.toml
	@echo "installing rampwatch into $(VENV) (once, about a minute)"
	@$(PYTHON) -c $(NEW_ENOUGH)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes -r requirements-demo.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: requirements-dev.txt pyproject.toml
	@echo "installing rampwatch and its test dependencies into $(VENV) (once, about a minute)"
	@$(PYTHON) -c $(NEW_ENOUGH)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/demo

demo: $(VENV)/demo
	@exec $(BIN)/rampwatch demo $(ARGS)

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Each process starts a Kafka of its own. A third process makes measurements under load too slow.
PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES) --dist loadscope --no-loadscope-reorder

test: lint
	$(PYTEST) $(ARGS)

# the numbers of both lanes are in tests/lanes.py
soak: lint
	SOAK=1 $(PYTEST) --timeout 3600 $(ARGS)

bench: $(VENV)/demo
	@exec $(BIN)/rampwatch bench $(ARGS)

schemas: $(VENV)/dev
	$(BIN)/python -m streams.schemas schemas

# SITES_DATA: folder with the source data (see deploy/make_sites.py)
sites: $(VENV)/dev
	$(BIN)/python -m deploy.make_sites $(SITES_DATA) deploy/sites

# rewrites the pinned requirements (see deploy/lock.sh)
lock:
	sh deploy/lock.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
