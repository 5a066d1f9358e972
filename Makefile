# make help lists the targets. Everything runs in .venv, which tools/bootstrap.py makes.

PYTHON ?= python3
BIN := .venv/bin
PYTEST_ARGS ?=
TRIES ?= 500
CASES ?= 200
FIRST ?= 0
KILLS ?= 200
MUTANTS ?=

# Workers are the parallelism; threads within each would only get in each other's way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help bootstrap demo lint typecheck check test test-slow attack fuzz certify mutants pages docs clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

bootstrap: ## make .venv and .venv-lava, or update them
	@$(PYTHON) tools/bootstrap.py

demo: bootstrap ## from a trained network to a verified bundle, in minutes
	$(BIN)/snndeploy demo

lint: bootstrap ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: bootstrap ## mypy --strict
	$(BIN)/mypy

check: lint typecheck ## everything that needs no test run

test: check ## check, then all tests but the slow ones (PYTEST_ARGS="-k name")
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: bootstrap ## the slow tests alone
	$(PYTEST) -m slow $(PYTEST_ARGS)

attack: bootstrap ## broken files of every format (TRIES=500 of each), crash points, kills: counted
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.attack --tries $(TRIES) --crash-points --kills $(KILLS)

fuzz: bootstrap ## run random networks in all engines, and count by relation and kind (CASES=200 FIRST=0)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.fuzz $(CASES) $(FIRST)

certify: bootstrap ## ask the certificate of 1,000 miscompilations, and print how many it rejects
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/certify.py 1000

mutants: bootstrap ## whether tests notice single faults; takes hours (MUTANTS="certify step --sample 60")
	OMP_NUM_THREADS=1 $(BIN)/python tools/mutants.py $(MUTANTS)

pages: bootstrap ## write the generated pages of the reference
	$(BIN)/python tools/pages.py

docs: bootstrap ## build the documentation into site/
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python tools/pages.py
	$(BIN)/mkdocs build --strict

clean: ## remove what was built; the environments stay
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find snndeploy tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
