# Everything a developer or a machine runs. `make help` lists it.

PYTHON ?= python3
ROWS ?=
OPTIONS ?=
STAMP := .venv/.installed
PEERS := .venv-bench/.installed
BIN := .venv/bin
TESTS := $(BIN)/pytest -q --ignore=tests/bench --ignore=tests/drills --ignore=tests/e2e

.DEFAULT_GOAL := help
.PHONY: help install check fmt test test-fast test-ray demo serve drills soak docs lock clean

help:  ## List the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):[^#]*## */\1|/' | sed 's/%/NAME/' | \
		awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMP)  ## Make the virtual environment in .venv, from the locked versions

$(STAMP): requirements/lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is not: run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) lacks the venv module: install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check: $(STAMP)  ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(STAMP)  ## Format, and correct what lint can correct
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test: $(STAMP)  ## All tests but e2e, benchmarks and drills, those of Ray beside the others
	@$(MAKE) -j2 test-fast test-ray

test-fast: $(STAMP)  ## The tests that start no Ray
	$(TESTS) -m "not ray"

test-ray: $(STAMP)  ## The tests that need Ray
	$(TESTS) -m ray

e2e: $(STAMP)  ## The demo and the README's "Your own data" as a user runs them, the simulator at full size
	$(BIN)/pytest -q tests/e2e

demo: $(STAMP)  ## The whole story on this machine, in demo-work/
	@$(BIN)/fraud demo >/dev/null

serve: $(STAMP)  ## Serve the demo's champion over HTTP
	$(BIN)/fraud serve --work demo-work

bench-%: $(STAMP)  ## A benchmark of tests/bench, with ROWS=... and OPTIONS="--..." where it takes them
	@test -f tests/bench/$*.py || \
		{ echo "there is no benchmark $*: there are $$(ls tests/bench 2>/dev/null | sed -n 's/\.py$$//p' | xargs)" >&2; exit 1; }
	$(BIN)/python tests/bench/$*.py $(if $(ROWS),--rows $(ROWS)) $(OPTIONS)

bench-features: $(PEERS)

$(PEERS): requirements/bench.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

drills: $(STAMP)  ## Kill things on purpose and see that nothing is lost
	$(BIN)/pytest -q tests/drills --ignore=tests/drills/test_serving_soak.py

soak: $(STAMP)  ## Ten minutes of steady load, with models that change
	$(BIN)/pytest -q tests/drills/test_serving_soak.py

docs: $(STAMP)  ## Write docs/features.md and the dictionary in docs/mart.md anew, from their definitions
	$(BIN)/python -m fraud.features.guide docs/features.md $(sort $(wildcard configs/features/*.yaml))
	$(BIN)/python -m fraud.mart.dictionary docs/mart.md

lock: $(STAMP)  ## Resolve requirements/lock.txt anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --extra dev --no-header pyproject.toml \
		-o requirements/lock.txt

clean:  ## Remove the environment, caches and work directories
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info fraud-work demo-work
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
