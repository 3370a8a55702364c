# Every target sets itself up first: nothing else is needed by hand but Python 3.11+ with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PARTS := build/.parts
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup parts demo test check bench format lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; say make PYTHON=python3.13") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	$(BIN)/python -m compileall -q core handlers infra
	@touch $(STAMP)

# What the tests and the demo read besides: recorded GitHub traffic, wheels of the bundles, the Azure worker's Python,
# Azurite, checkov, and Terraform's core where there is no terraform.
parts: $(PARTS)

$(PARTS): $(STAMP) tests/replay/obtain.py infra/bundle.py tests/runtimes/azure_setup.py tests/runtimes/azurite_setup.py \
		tests/runtimes/checkov_setup.py tests/runtimes/terraform_setup.py
	$(BIN)/python -m tests.replay.obtain
	$(BIN)/python -m infra.bundle --prefetch
	$(BIN)/python -m tests.runtimes.azure_setup
	$(BIN)/python -m tests.runtimes.azurite_setup
	$(BIN)/python -m tests.runtimes.checkov_setup
	$(BIN)/python -m tests.runtimes.terraform_setup
	@mkdir -p build && touch $(PARTS)

demo: $(STAMP)
	@$(BIN)/python -m tests.replay.obtain >/dev/null
	@$(BIN)/python -m samples.demo

test: $(PARTS)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	@missed=""; for figure in alerts paging coldstart coldstart_others; do \
		$(BIN)/python -m benchmarks.$$figure || missed="$$missed $$figure"; \
	done; test -z "$$missed" || { echo "bounds missed:$$missed"; exit 1; }

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMP)
	$(PIP) uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock

clean:
	rm -rf $(VENV) .venv313 build dist
