# make demo   run every pipeline against a local sandbox and show what landed
# make test   check the code and run every test
# make help   the other targets

PYTHON ?= python3
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

venv := .venv
bin := $(venv)/bin
installed := $(venv)/.installed

# Plugins of others, each with a lock of its own that meltano.yml names.
third_party := tap-postgres tap-spreadsheets target-duckdb target-jsonl
# Airflow has an environment of its own, since its packages need not agree with this project's.
venv_airflow := .venv-airflow
installed_airflow := $(venv_airflow)/.installed
# Clients of the vendors' APIs, made by others, that the sandbox and the plugins are compared with.
venv_clients := .venv-clients
installed_clients := $(venv_clients)/.installed
# Taps made by others, each in an environment of its own, that are run into the targets.
taps := tap-postgres tap-spreadsheets tap-jsonl pipelinewise-tap-postgres
venv_taps := .venv-taps
installed_taps := $(taps:%=$(venv_taps)/%/.installed)
audited := dev $(third_party) airflow
# The clients and these taps are not audited: they are given nothing but the sandbox.
locks := $(third_party) airflow clients tap-jsonl pipelinewise-tap-postgres
# What the tests of the plugins need beside the plugins, in the environment of test-lowest.
test_packages := aiohttp editables hatchling hypothesis psutil pytest pytest-timeout pytest-xdist
product_tests := tests/singer_martech tests/robustness $(wildcard tests/tap_*) $(wildcard tests/target_*)
side_by_side := --numprocesses logical --maxprocesses 4 --dist worksteal
compile = $(bin)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.10 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links

# Nothing but this project's own folder decides what Meltano and the plugins see.
export PATH := $(CURDIR)/$(bin):$(PATH)
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(installed) ## Run every pipeline against a local sandbox and show what landed
	@$(bin)/python -m tests.demo

.PHONY: sandbox
sandbox: $(installed) ## Serve the sandbox, for runs by hand
	@$(bin)/python -m tests.demo.serve

.PHONY: test
test: check ## Check the code and run every test
	$(bin)/python -m pytest $(side_by_side) $(PYTEST)

.PHONY: test-airflow
test-airflow: $(installed) $(installed_airflow) ## Back-fill a month with the real Airflow
	AIRFLOW="$(CURDIR)/$(venv_airflow)/bin/airflow" $(bin)/python -m pytest tests/airflow $(PYTEST)

.PHONY: test-clients
test-clients: $(installed) $(installed_clients) $(installed_taps) ## Run with clients and taps that others made
	CLIENTS="$(CURDIR)/$(venv_clients)/bin/python" TAPS="$(CURDIR)/$(venv_taps)" \
	  $(bin)/python -m pytest $(side_by_side) tests/clients tests/taps $(PYTEST)

.PHONY: chaos
chaos: $(installed) ## Break the plugins at random for long (SEEDS="1 2", REQUESTS=2000)
	CHAOS_SEEDS="$(or $(SEEDS),$(shell date +%s))" CHAOS_REQUESTS="$(or $(REQUESTS),2000)" \
	  $(bin)/python -m pytest tests/chaos -s --timeout 3600 $(PYTEST)

.PHONY: test-lowest
test-lowest: $(installed) ## Test the plugins with the lowest versions that pyproject.toml allows
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	python="$$folder/venv/bin/python" && \
	$(bin)/python -m uv venv --quiet --python $(bin)/python "$$folder/venv" && \
	$(bin)/python -m uv pip compile --quiet --resolution lowest-direct --no-header --no-annotate \
	  --no-emit-index-url --python "$$python" --output-file "$$folder/lowest.txt" pyproject.toml && \
	$(bin)/python -m uv pip install --quiet --python "$$python" --requirement "$$folder/lowest.txt" && \
	$(bin)/python -m uv pip install --quiet --python "$$python" --constraint "$$folder/lowest.txt" \
	  $(test_packages) && \
	$(bin)/python -m uv pip install --quiet --python "$$python" --no-deps --no-build-isolation \
	  --editable . && \
	PATH="$$folder/venv/bin:$$PATH" "$$python" -m pytest -o cache_dir="$$folder/cache" $(side_by_side) \
	  $(or $(TESTS),$(product_tests)) $(PYTEST)

.PHONY: pythons
pythons: ## Run the tests on every supported Python that is found (TESTS="tests/singer_martech")
	@$(PYTHON) tools/pythons.py $(side_by_side) $(TESTS)

.PHONY: audit
audit: $(installed) ## Look for known weaknesses in the locked packages (needs a network)
	@$(bin)/python -m uv tool run --quiet pip-audit --version >/dev/null 2>&1 || { \
	  echo "pip-audit cannot be had here: nothing was checked" >&2; exit 1; }
	@for lock in $(audited); do \
	  $(bin)/python -m uv tool run --quiet pip-audit --strict --require-hashes --disable-pip \
	    --requirement requirements/$$lock.txt || { \
	    echo "requirements/$$lock.txt: weaknesses, or no answer from the database (see above)" >&2; \
	    exit 1; }; done

.PHONY: check
check: $(installed) ## Lint, check formatting and types
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy
	$(bin)/lint-imports --no-cache

.PHONY: format
format: $(installed) ## Format the code and mend what can be mended
	$(bin)/ruff check --fix
	$(bin)/ruff format

.PHONY: bench
bench: $(installed) ## Measure the plugins beside what people would use instead
	$(bin)/python -m bench $(BENCH)

.PHONY: docs
docs: $(installed) ## Renew the settings in meltano.yml, docs and hub from --about
	$(bin)/python -m tools.docs

.PHONY: screenshot
screenshot: $(installed) ## Renew the picture of a report in docs/images; needs Chromium
	$(bin)/python -m tools.screenshot

.PHONY: wheel
wheel: $(installed) ## Build the wheel into dist/
	@$(bin)/python -m tools.release --wheel

.PHONY: hub-local
hub-local: $(installed) ## Write definitions to dist/hub that install the wheel in any Meltano project
	@$(bin)/python -m tools.hub

.PHONY: release
release: $(installed) ## Build the sdist and the wheel, and check them in a fresh environment
	$(bin)/python -m tools.release

.PHONY: install
install: $(installed) ## Make .venv and install everything into it

.PHONY: lock
lock: $(installed) ## Renew the locked versions in requirements/
	$(compile) --group dev --output-file requirements/dev.txt pyproject.toml
	for lock in $(locks); do \
	  $(compile) --output-file requirements/$$lock.txt requirements/$$lock.in || exit 1; done

.PHONY: clean
clean: ## Remove what the demo and the tests left (the environment and a running sandbox stay)
	@if [ -e .demo/sandbox.pid ] && kill -0 "$$(cat .demo/sandbox.pid)" 2>/dev/null; then \
	  find .demo -mindepth 1 ! -name sandbox.env ! -name sandbox.pid -prune -exec rm -rf {} +; \
	else rm -rf .demo; fi
	rm -rf .meltano plugins output rejects build dist \
	  .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(venv)*/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove the environments too
	rm -rf $(venv) $(venv_airflow) $(venv_clients) $(venv_taps)

$(installed): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Python 3.10 or newer is needed; name one with: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(venv)"
	@$(bin)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(venv)
	@$(bin)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	@$(bin)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The lock is whole; pip alone would look for sqlalchemy[asyncio] beside the locked sqlalchemy.
$(installed_airflow): requirements/airflow.txt | $(installed)
	@echo "Installing into $(venv_airflow)"
	@$(bin)/python -m venv --clear $(venv_airflow)
	@$(venv_airflow)/bin/python -m pip install --quiet --no-deps --require-hashes \
	  --requirement requirements/airflow.txt
	@touch $@

$(installed_clients): requirements/clients.txt | $(installed)
	@echo "Installing into $(venv_clients)"
	@$(bin)/python -m venv --clear $(venv_clients)
	@$(venv_clients)/bin/python -m pip install --quiet --use-pep517 --require-hashes \
	  --requirement requirements/clients.txt
	@touch $@

$(venv_taps)/%/.installed: requirements/%.txt | $(installed)
	@echo "Installing into $(venv_taps)/$*"
	@$(bin)/python -m venv --clear $(venv_taps)/$*
	@$(venv_taps)/$*/bin/python -m pip install --quiet --require-hashes \
	  --requirement requirements/$*.txt
	@touch $@
